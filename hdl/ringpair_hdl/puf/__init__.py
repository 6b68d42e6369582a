"""The PUF: rings, their measurement, and the engine that makes candidate bits of counts.

`ring_array` and `tile` are the physical rings; `rings` joins them, or a simulated source, to the measurement; `engine`
measures, quantizes and searches, by the program in `program` on the small machine of `microcode` and `quantizer`.
"""
