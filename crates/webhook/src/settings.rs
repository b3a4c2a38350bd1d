//! The settings of admission, which may change while the server runs.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use image_swap_core::admission::Settings;

/// A handle of the settings that answer requests, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SettingsInForce(Arc<ArcSwap<Settings>>);

impl SettingsInForce {
    /// Puts `settings` in force.
    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }

    /// Returns the settings in force.
    pub fn current(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Borrows the settings for one answer, without a write to shared memory.
    pub(crate) fn now(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }
}

impl From<Settings> for SettingsInForce {
    fn from(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }
}
