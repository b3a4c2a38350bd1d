//! Images of image-swap's own pods.

use serde_json::Value;

use crate::{
    rule::RuleSet,
    workload::{CONTAINER_LISTS, PULL_NEVER, Workload},
};

/// Argument of the controller with the image of restart pods.
const RESTART_IMAGE: &str = "--restart-image=";

/// Swaps the images of the pods of `object`, and those that their arguments name.
///
/// # Errors
/// Returns the reason if an image is no reference.
pub(super) fn swap_images(object: &mut Value, rules: &RuleSet) -> Result<(), String> {
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let Some(workload) = Workload::of(&text(&object["apiVersion"]), &text(&object["kind"])) else {
        return Ok(());
    };
    let path = workload.template_path().iter();
    let template = path.fold(Some(object), |value, key| value?.get_mut(*key));
    let Some(spec) = template.and_then(|it| it.get_mut("spec")) else { return Ok(()) };
    for list in CONTAINER_LISTS {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let is_never = container["imagePullPolicy"] == PULL_NEVER;
            if let Some(image) = container.get_mut("image").filter(|_| !is_never) {
                swap(image, "", rules)?;
            }
            let arguments = container.get_mut("args").and_then(Value::as_array_mut);
            let arguments = arguments.into_iter().flatten();
            arguments.into_iter().try_for_each(|it| swap(it, RESTART_IMAGE, rules))?;
        }
    }
    let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        if let Some(image) = volume.get_mut("image").and_then(|it| it.get_mut("reference")) {
            swap(image, "", rules)?;
        }
    }
    Ok(())
}

/// Swaps the image that follows `prefix` in `text`.
fn swap(text: &mut Value, prefix: &str, rules: &RuleSet) -> Result<(), String> {
    let Some(image) = text.as_str().and_then(|text| text.strip_prefix(prefix)) else {
        return Ok(());
    };
    let decision = rules.swap(image).map_err(|error| format!("invalid image {image}: {error}"))?;
    if decision.changed() {
        *text = Value::String(format!("{prefix}{}", decision.image));
    }
    Ok(())
}
