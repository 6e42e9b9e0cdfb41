"""The bundled parser: an imaginary shop and a clinic in four ways of writing, and a tiny encoder learnt from them."""
