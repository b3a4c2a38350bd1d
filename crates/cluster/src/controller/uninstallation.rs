//! The memory of an uninstallation.

use image_swap_core::declaration::UnixTime;

/// The memory of a registration that may be deleted.
#[derive(Default)]
pub(super) struct Uninstallation {
    /// True once the memory of the previous leader was read.
    pub(super) is_read: bool,
    /// True if the registration had entries when it was last read, or if a previous leader
    /// may have registered.
    pub(super) registered: bool,
    /// The UID of the last mark; `None` if none was seen.
    pub(super) mark: Option<String>,
    /// The end of the quiet time; `None` if there is none.
    pub(super) until: Option<UnixTime>,
}

impl Uninstallation {
    /// Returns true during the quiet time.
    pub(super) fn is_quiet(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Returns the memory of a release that is not registered.
    pub(super) const fn unregistered(mark: Option<String>) -> Self {
        Self { is_read: true, registered: false, mark, until: None }
    }
}
