//! Images of the object that an update changes.

use std::{cell::OnceCell, collections::BTreeMap};

use super::{
    originals::Originals,
    pod::{ImageList, PodImage, PodView},
};

/// Images of the stored object, by container.
pub(super) struct OldImages<'p> {
    object: Option<&'p PodView<'p>>,
    by_name: OnceCell<BTreeMap<(ImageList, &'p str), &'p PodImage<'p>>>,
}

impl<'p> OldImages<'p> {
    pub(super) fn new(object: Option<&'p PodView<'_>>) -> Self {
        Self { object, by_name: OnceCell::new() }
    }

    pub(super) fn originals(&self) -> Originals<'p> {
        self.object.map_or_else(Originals::default, |object| Originals::read(&object.record))
    }

    /// Returns the stored image of the container with the same name as `image`'s, which is at
    /// `position`; `None` if there is no such container.
    pub(super) fn find(&self, position: usize, image: &PodImage<'_>) -> Option<&'p PodImage<'p>> {
        let images = &self.object?.images;
        // Almost always the position is unchanged.
        if let Some(old) = images.get(position)
            && old.list == image.list
            && old.name == image.name
        {
            return Some(old);
        }
        let by_name = self.by_name.get_or_init(|| {
            // Of containers with the same name the first counts.
            images.iter().rev().map(|image| ((image.list, &*image.name), image)).collect()
        });
        by_name.get(&(image.list, &*image.name)).copied()
    }
}
