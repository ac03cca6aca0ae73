//! From files to the network's input: decoding, windowing, resizing; and phantoms.

pub mod decode;
pub mod phantom;
pub mod preprocess;
mod slice;
pub mod window;

pub use decode::{ImageError, decode_slice};
pub use preprocess::NetworkInput;
pub use slice::CtSlice;
pub use window::Window;
