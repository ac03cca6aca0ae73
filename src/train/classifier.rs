//! Stage II (specification 2).
