//! Baselines: the same bytes parsed with `serde_json`.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, Visitor},
};

/// Validates the body without keeping any part of it.
pub(crate) fn ignored_any(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Parses the fields that admission needs into borrowed structs.
pub(crate) fn borrowed_struct(body: &[u8]) -> bool {
    serde_json::from_slice::<Review<'_>>(body).is_ok_and(|review| review.request.is_some())
}

/// A text that is borrowed if it has no escapes, inside options too.
struct Text<'b>(#[expect(dead_code, reason = "read and thrown away")] Cow<'b, str>);

impl<'de: 'b, 'b> Deserialize<'de> for Text<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

macro_rules! borrowed {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(dead_code, reason = "read and thrown away")]
        struct $name<'b> {
            $(#[serde(borrow)] $(#[$attribute])* $field: Option<$type>,)*
        }
    )*};
}

borrowed! {
    Review {
        api_version: Text<'b>,
        kind: Text<'b>,
        request: Request<'b>,
    }
    Request {
        uid: Text<'b>,
        kind: Type<'b>,
        resource: Type<'b>,
        sub_resource: Text<'b>,
        name: Text<'b>,
        namespace: Text<'b>,
        operation: Text<'b>,
        object: Object<'b>,
        old_object: Object<'b>,
    }
    Type {
        group: Text<'b>,
        kind: Text<'b>,
        resource: Text<'b>,
    }
    Object {
        metadata: Metadata<'b>,
        spec: Spec<'b>,
    }
    Metadata {
        name: Text<'b>,
        generate_name: Text<'b>,
        annotations: Annotations<'b>,
        labels: Labels<'b>,
    }
    Annotations {
        #[serde(rename = "image-swap.io/original-images")]
        originals: Text<'b>,
        #[serde(rename = "kubernetes.io/config.mirror")]
        mirror: Text<'b>,
    }
    Labels {
        #[serde(rename = "k8s.twr.io/imageswap")]
        disable: Text<'b>,
    }
    Spec {
        init_containers: Vec<Container<'b>>,
        containers: Vec<Container<'b>>,
        ephemeral_containers: Vec<Container<'b>>,
        volumes: Vec<Volume<'b>>,
    }
    Container {
        name: Text<'b>,
        image: Text<'b>,
        image_pull_policy: Text<'b>,
    }
    Volume {
        name: Text<'b>,
        image: ImageVolume<'b>,
    }
    ImageVolume {
        reference: Text<'b>,
        pull_policy: Text<'b>,
    }
}
