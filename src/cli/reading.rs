//! Opens files and decodes slices with a clock beside: what never ends is left behind in its thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::image::decode::limits::MAX_SECONDS;
use crate::image::slice::RawSlice;
use crate::image::study::{Opening, Study};
use crate::image::{FileBytes, ImageError, SeriesSlice};

/// What a decoder may take for a file of `bytes`: [`MAX_SECONDS`], and one more for each megabyte.
pub fn timeout(bytes: u64) -> Duration {
    Duration::from_secs(MAX_SECONDS + (bytes >> 20))
}

/// Opens files, each with its name and the time that it may take, until `stop` says so. A file that takes
/// longer is refused, and the others are opened again without it.
///
/// # Errors
/// If no thread can be started.
pub fn open<F>(files: &[(String, F, Duration)], stop: &Arc<AtomicBool>) -> std::io::Result<Study<F>>
where
    F: FileBytes + Clone + Send + Sync + 'static,
{
    let mut slow = BTreeMap::new();
    loop {
        let (at, seen) = channel();
        let (files_there, slow_there, stop_there) = (files.to_vec(), slow.clone(), stop.clone());
        let opening = thread::Builder::new().spawn(move || {
            let mut opening = Opening::default();
            for (place, (name, file, timeout)) in files_there.into_iter().enumerate() {
                if stop_there.load(Ordering::Relaxed) {
                    break;
                }
                match slow_there.get(&place) {
                    Some(seconds) => opening.refuse(name, ImageError::Slow { seconds: *seconds }),
                    None => {
                        // Nobody listens any more once this thread was left behind.
                        if at.send((place, timeout)).is_err() {
                            break;
                        }
                        opening.add(name, file);
                    }
                }
            }
            opening.finish()
        })?;
        let (mut place, mut timeout) = (0, Duration::from_secs(MAX_SECONDS));
        loop {
            match seen.recv_timeout(timeout) {
                Ok(next) => (place, timeout) = next,
                Err(RecvTimeoutError::Timeout) => {
                    slow.insert(place, timeout.as_secs());
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return opening.join().map_err(|_| std::io::Error::other("the reader broke"));
                }
            }
        }
    }
}

/// Decodes a slice, in so much time.
///
/// # Errors
/// As [`SeriesSlice::read`], and if it takes longer.
pub fn read<F>(slice: &SeriesSlice<F>, timeout: Duration) -> Result<RawSlice, ImageError>
where
    F: FileBytes + Clone + Send + Sync + 'static,
{
    let (done, result) = channel();
    let there = slice.clone();
    thread::Builder::new()
        // Whether somebody still waits for it is of no matter.
        .spawn(move || drop(done.send(there.read())))
        .map_err(|error| ImageError::broken(error.to_string()))?;
    match result.recv_timeout(timeout) {
        Ok(raw) => raw,
        Err(RecvTimeoutError::Timeout) => Err(ImageError::Slow { seconds: timeout.as_secs() }),
        Err(RecvTimeoutError::Disconnected) => Err(ImageError::broken("its thread ended".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::image::decode::AllFormats;

    /// A file that may be long in coming.
    #[derive(Clone, Debug)]
    struct Sleepy {
        bytes: Vec<u8>,
        waits: bool,
    }

    impl FileBytes for Sleepy {
        type Formats = AllFormats;

        fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError> {
            if self.waits {
                thread::sleep(Duration::from_secs(20));
            }
            Ok(Cow::Borrowed(&self.bytes))
        }
    }

    fn file(name: &str, waits: bool) -> (String, Sleepy, Duration) {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(40, 40).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        (name.into(), Sleepy { bytes: bytes.into_inner(), waits }, Duration::from_secs(1))
    }

    #[test]
    fn a_file_without_end_costs_itself_alone() {
        let files = [file("a/1.png", false), file("b/2.png", true), file("c/3.png", false)];
        let found = open(&files, &Arc::default()).unwrap();
        assert_eq!(found.slices(), 2);
        assert_eq!(found.refused.len(), 1);
        assert_eq!(found.refused[0].0, "b/2.png");
        assert!(matches!(found.refused[0].1, ImageError::Slow { seconds: 1 }));
        let slice = &found.series[0].slices[0];
        assert!(read(slice, Duration::from_secs(10)).is_ok());
        assert!(matches!(read(slice, Duration::ZERO), Err(ImageError::Slow { .. })));
    }
}
