//! Options that say which slices with a class are read.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::dataset::DatasetError;
use crate::dataset::classes::ClassDataset;

/// Pictures with a class.
#[derive(Debug, Args)]
pub struct ClassPictures {
    /// Folder of the pictures, or the folder above their `images`
    #[arg(long)]
    pub data: PathBuf,
    /// COVIDx-CT list or names, one a line. Default: every picture named by class
    #[arg(long)]
    pub list: Option<PathBuf>,
}

impl ClassPictures {
    /// Opens them.
    ///
    /// # Errors
    /// If a picture or the list is missing or cannot be understood.
    pub fn open(&self) -> Result<ClassDataset, DatasetError> {
        ClassDataset::open(&self.data, self.list.as_deref())
    }

    /// What names them: the list, or else the folder.
    pub fn name(&self) -> &Path {
        self.list.as_ref().unwrap_or(&self.data)
    }
}
