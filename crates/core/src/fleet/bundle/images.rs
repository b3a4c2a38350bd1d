//! Images of image-swap's own pods.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    rule::RuleSet,
    workload::{CONTAINER_LISTS, PULL_NEVER, Workload},
};

/// Argument of the controller with the image of restart pods.
const RESTART_IMAGE: &str = "--restart-image=";

/// Swaps images of a bundle, and remembers them for its policies.
pub(super) struct OwnImages<'r> {
    rules: &'r RuleSet,
    /// Swapped images by the images of the bundle.
    swapped: BTreeMap<String, String>,
}

impl<'r> OwnImages<'r> {
    /// Creates a swapper by `rules`, which has swapped no image yet.
    pub(super) const fn new(rules: &'r RuleSet) -> Self {
        Self { rules, swapped: BTreeMap::new() }
    }

    /// Swaps the images of the pods of `object`, and those that their arguments name.
    ///
    /// # Errors
    /// Returns the reason if an image is no reference.
    pub(super) fn swap(&mut self, object: &mut Value) -> Result<(), String> {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let workload = Workload::of(&text(&object["apiVersion"]), &text(&object["kind"]));
        let Some(workload) = workload else { return Ok(()) };
        let path = workload.template_path();
        let template = path.iter().try_fold(object, |value, key| value.get_mut(*key));
        let Some(spec) = template.and_then(|it| it.get_mut("spec")) else { return Ok(()) };
        for list in CONTAINER_LISTS {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let is_never = container["imagePullPolicy"] == PULL_NEVER;
                if let Some(image) = container.get_mut("image").filter(|_| !is_never) {
                    self.swap_after("", image)?;
                }
                let arguments = container.get_mut("args").and_then(Value::as_array_mut);
                for argument in arguments.into_iter().flatten() {
                    self.swap_after(RESTART_IMAGE, argument)?;
                }
            }
        }
        let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten() {
            if let Some(image) = volume.get_mut("image").and_then(|it| it.get_mut("reference")) {
                self.swap_after("", image)?;
            }
        }
        Ok(())
    }

    /// Swaps the image that follows `prefix` in `text`.
    fn swap_after(&mut self, prefix: &str, text: &mut Value) -> Result<(), String> {
        let Some(image) = text.as_str().and_then(|text| text.strip_prefix(prefix)) else {
            return Ok(());
        };
        let decision = self.rules.swap(image);
        let decision = decision.map_err(|error| format!("invalid image {image}: {error}"))?;
        if decision.changed() {
            let swapped = format!("{prefix}{}", decision.image);
            self.swapped.insert(image.to_owned(), decision.image.into_owned());
            *text = Value::String(swapped);
        }
        Ok(())
    }

    /// Replaces the images, as strings of CEL, in the expressions of an admission policy. The
    /// policy admits restart pods by their image.
    pub(super) fn swap_in_policy(&self, object: &mut Value) {
        if object["kind"] == "ValidatingAdmissionPolicy" {
            self.replace(&mut object["spec"]);
        }
    }

    fn replace(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for (image, swapped) in &self.swapped {
                    // References have no characters that CEL or YAML escape.
                    *text = text.replace(&format!("\"{image}\""), &format!("\"{swapped}\""));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.replace(field)),
            _ => {}
        }
    }
}
