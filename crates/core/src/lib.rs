//! The pure core of image-swap: references, rules, pods, mirrors and the decisions of the
//! controller. It contains no I/O, no clock and no async runtime.
//!
//! From the inside out:
//!
//! - [`reference`](mod@reference) parses image references as Go's `distribution/reference` does.
//! - [`rule`] parses the image swap format, swaps, converts imageswap maps, and explains.
//! - [`declaration`] reads one registry and one list of rules from four texts, or from a Secret.
//! - [`lint`] finds mistakes in rules before any image meets them.
//! - [`mirror`] is the table of mirrors: the URLs that nodes request, and what formats can express.
//! - [`render`] prints that table in the formats of runtimes and builders, one file for each format.
//! - [`admission`] answers an AdmissionReview.
//! - [`pull_secret`] is the credential of nodes, and the images that it is for.
//! - [`control`] decides on the objects of a cluster, and on the next step towards them.
//! - [`fleet`] decides on the workload clusters of a management cluster.
//! - [`machine_template`] reviews the machine templates of Cluster API.
//! - [`status`] has the data that one process writes and another one reads.
//! - [`labels`] names labels, annotations and webhooks.
//! - [`workload`] and [`manifest`] find images in objects, and rewrite manifests byte for byte.
//! - [`diagnostic`] has errors and warnings with their positions.

pub mod admission;
pub mod control;
pub mod declaration;
pub mod diagnostic;
pub mod fleet;
pub mod labels;
pub mod lint;
pub mod machine_template;
pub mod manifest;
pub mod mirror;
pub mod pull_secret;
pub mod reference;
pub mod render;
pub mod rule;
pub mod status;
pub mod workload;
