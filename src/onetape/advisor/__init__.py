"""The optional adviser: model scores, LLM text, retrieval, their guardrails. Reads and proposes."""
