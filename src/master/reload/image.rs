//! The image of a generation's application, as the master has it: made empty, handed to every worker, and never read here.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::{debug, warn};

use crate::log::cause;
use crate::master::Master;
use crate::settings::{AppSource, Settings};
use crate::sys::image as memory;

/// What a generation's workers are to load its application from.
#[derive(Clone, Debug, Default)]
pub(in crate::master) enum Image {
    /// Its path, or it is built in.
    #[default]
    None,
    /// A file in memory that the first worker fills and seals; none was Ready yet.
    Open(Arc<memory::Image>),
    /// The file in memory, which nobody can change any more.
    Sealed(Arc<memory::Image>),
}

impl Image {
    /// For a generation that begins.
    pub(in crate::master) fn for_settings(settings: &Settings) -> Image {
        let AppSource::Library(path) = &settings.app.source else {
            return Image::None;
        };
        if settings.image_limit == 0 {
            return Image::None;
        }
        match memory::Image::create(&name(path)) {
            Ok(image) => Image::Open(Arc::new(image)),
            Err(error) => {
                warn!(
                    "{} is loaded from its path and not from a copy in memory, since {}. So whoever overwrites or \
                     truncates it crashes its workers, and a worker that is started later runs what is there then: \
                     install a new one by rename, and send HUP",
                    path.display(),
                    why_not(&error)
                );
                Image::None
            }
        }
    }

    /// What a worker gets.
    pub(in crate::master) fn file(&self) -> Option<Arc<memory::Image>> {
        match self {
            Image::None => None,
            Image::Open(file) | Image::Sealed(file) => Some(Arc::clone(file)),
        }
    }

    /// A worker is Ready: what it has not sealed it did not load, and nobody else is to.
    fn settle(&mut self) {
        if let Image::Open(file) = self {
            *self = if file.is_sealed() { Image::Sealed(Arc::clone(file)) } else { Image::None };
        }
    }
}

impl Master {
    /// One of the workers of generation `number` has become Ready.
    pub(in crate::master) fn settle_image(&mut self, number: u64) {
        if let Some(generation) = self.generation(number)
            && matches!(generation.image, Image::Open(_))
        {
            generation.image.settle();
            debug!("generation {number} loads its application from {}", whence(&generation.image));
        }
    }
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this system executes nothing from memory (vm.memfd_noexec)".to_owned()
        }
        _ => format!("none can be made: {}", cause(error)),
    }
}

fn whence(image: &Image) -> &'static str {
    match image {
        Image::None => "its path",
        Image::Open(_) | Image::Sealed(_) => "its image",
    }
}

/// The library's file name, for whoever reads /proc/PID/maps; the kernel takes up to 249 bytes.
fn name(path: &Path) -> CString {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = &name[..name.floor_char_boundary(200)];
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_nobody_has_sealed_is_let_go() {
        let file = || Arc::new(memory::Image::create(c"test").unwrap());
        let mut unused = Image::Open(file());
        unused.settle();
        assert!(unused.file().is_none());
        let sealed = file();
        sealed.lock().unwrap().seal().unwrap();
        let mut image = Image::Open(sealed);
        image.settle();
        assert!(matches!(image, Image::Sealed(_)));
    }

    #[test]
    fn an_image_has_the_librarys_name() {
        assert_eq!(name(Path::new("/srv/libshop.so")), CString::new("libshop.so").unwrap());
        assert_eq!(name(&Path::new("/srv").join("x".repeat(255))).as_bytes().len(), 200);
    }
}
