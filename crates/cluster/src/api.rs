//! Requests for objects as JSON: fields that this version does not know are kept.

use image_swap_core::labels::IMAGE_SWAP;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    core::DynamicResourceScope,
};
use serde_json::Value;

use crate::error::{Error, code};

/// The name of image-swap in `managedFields`.
pub const MANAGER: &str = IMAGE_SWAP;

/// Returns the objects of the kind `K` in all namespaces, read as `T`.
pub fn all<K, T>(client: &Client) -> Api<T>
where
    K: Resource<DynamicType = ()>,
    T: Resource<DynamicType = ApiResource>,
{
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}

/// Returns the objects of the kind `K` in `namespace`, read as `T`.
pub fn namespaced<K, T>(client: &Client, namespace: &str) -> Api<T>
where
    K: Resource<DynamicType = ()>,
    T: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

/// Returns the API of webhook configurations.
pub fn registrations(client: &Client) -> Api<DynamicObject> {
    all::<MutatingWebhookConfiguration, _>(client)
}

/// Returns the object `name`; `None` if it does not exist.
///
/// # Errors
/// [`Error::Api`].
pub async fn get<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.get_opt(name).await.map_err(Error::api(format!("read {name}")))
}

/// Creates the object `name`, or updates the fields that `object` contains. Fields of other writers
/// are taken over.
///
/// The request is a server-side apply. For a new object the API server then checks the permission
/// to create an object *of this name*, so permissions can be limited to names.
///
/// # Errors
/// [`Error::Api`].
pub async fn apply<K>(api: &Api<K>, name: &str, object: &Value) -> Result<K, Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let params = PatchParams::apply(MANAGER).force();
    let written = api.patch(name, &params, &Patch::Apply(object)).await;
    written.map_err(Error::api(format!("write {name}")))
}

/// Applies the merge patch `patch` (RFC 7396) to the object `name`. Returns false if it does not
/// exist.
///
/// # Errors
/// [`Error::Api`].
pub async fn patch_if_present(
    api: &Api<DynamicObject>,
    name: &str,
    patch: &Value,
) -> Result<bool, Error> {
    match patch_existing(api, name, patch).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Applies a merge patch to an object that has to exist, and returns the patched object.
///
/// # Errors
/// [`Error::Api`].
pub async fn patch_existing<K>(api: &Api<K>, name: &str, patch: &Value) -> Result<K, Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let changed = api.patch(name, &params, &Patch::Merge(patch)).await;
    changed.map_err(Error::api(format!("change {name}")))
}

/// Deletes the object `name`. Returns false if it did not exist.
///
/// # Errors
/// [`Error::Api`].
pub async fn delete(api: &Api<DynamicObject>, name: &str) -> Result<bool, Error> {
    delete_by(api, name, &DeleteParams::default(), format!("delete {name}")).await
}

/// Deletes the object `name` by `params`. Returns false if it did not exist. `action` describes the
/// request in an error.
///
/// # Errors
/// [`Error::Api`].
pub async fn delete_by<K>(
    api: &Api<K>,
    name: &str,
    params: &DeleteParams,
    action: String,
) -> Result<bool, Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.delete(name, params).await {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(404) => Ok(false),
        Err(error) => Err(Error::api(action)(error)),
    }
}

/// Returns parameters that delete an object only if it has this UID.
pub fn with_uid(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams::default().preconditions(preconditions)
}
