//! Certificates that the test stores: valid, nearly expired or expired.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::declaration::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use serde_json::json;

use super::{REGISTRY, ServedCluster};
use crate::{
    stream::Stream,
    test_cluster::{NAMESPACE, REGISTRATIONS, SECRETS, TestCluster, now, settings, until},
};

pub(super) const DAY: UnixTime = 24 * 60 * 60;

/// An authority and a certificate that it signed, all PEM.
pub(super) struct Planted {
    pub(super) authority: String,
    authority_key: String,
    leaf: String,
    leaf_key: String,
}

/// The beginning and the end of validity, in seconds since 1970.
pub(super) type Life = (UnixTime, UnixTime);

impl Planted {
    pub(super) fn new(authority: Life, leaf: Life) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "image-swap authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        live(&mut params, authority);
        let certificate = params.self_signed(&authority_key).unwrap().pem();
        let key = authority_key.serialize_pem();
        let issuer = Issuer::new(params, authority_key);
        let leaf_key = KeyPair::generate().unwrap();
        let service = "image-swap-admission";
        let names = [
            format!("{service}.{NAMESPACE}.svc"),
            format!("{service}.{NAMESPACE}.svc.cluster.local"),
            format!("{service}.{NAMESPACE}"),
            service.to_owned(),
        ];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        live(&mut params, leaf);
        let leaf = params.signed_by(&leaf_key, &issuer).unwrap().pem();
        Self {
            authority: certificate,
            authority_key: key,
            leaf,
            leaf_key: leaf_key.serialize_pem(),
        }
    }

    pub(super) fn store_leaf(&self, cluster: &TestCluster) {
        let data =
            json!({ "tls.crt": self.leaf, "tls.key": self.leaf_key, "ca.crt": self.authority });
        store(cluster, "image-swap-tls", &data);
    }

    pub(super) fn store_authority(&self, cluster: &TestCluster) {
        let data = json!({ "tls.crt": self.authority, "tls.key": self.authority_key });
        store(cluster, "image-swap-ca", &data);
    }
}

fn live(params: &mut CertificateParams, (from, until): Life) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from);
    params.not_after = epoch + Duration::from_secs(until);
}

fn store(cluster: &TestCluster, name: &str, data: &serde_json::Value) {
    // The old keys are removed.
    let path = format!("{SECRETS}/{name}");
    cluster.request("PATCH", &path, Some(&json!({ "data": null })));
    cluster.request("PATCH", &path, Some(&json!({ "stringData": data })));
}

/// Publishes exactly `authorities` to API servers.
pub(super) fn publish(cluster: &TestCluster, authorities: &[&str]) {
    let mut object = cluster.registration().unwrap();
    for entry in object["webhooks"].as_array_mut().unwrap() {
        entry["clientConfig"]["caBundle"] = STANDARD.encode(authorities.concat()).into();
    }
    cluster.request("PUT", &format!("{REGISTRATIONS}/image-swap-admission"), Some(&object));
}

/// A cluster that was switched off for a year has only expired certificates.
// guarantee: 4e
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn expired_certificates_are_replaced_without_unreviewed_pods() {
    let mut scene = ServedCluster::set(1).await;
    let expired = (now() - 400 * DAY, now() - 30 * DAY);
    let valid = (now() - DAY, now() + 20 * DAY);
    for (authority, leaf) in [(expired, expired), (valid, expired), (expired, valid)] {
        drop(scene.controller.take());
        let (replica, _) = &scene.replicas[0];
        let count = *replica.certificates().borrow();
        let planted = Planted::new(authority, leaf);
        planted.store_authority(&scene.cluster);
        planted.store_leaf(&scene.cluster);
        until(&mut replica.certificates(), |now| *now > count).await;
        publish(&scene.cluster, &[&planted.authority]);
        let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
        stream.refused().await;

        scene.controller = Some(scene.cluster.controller(settings(), "next"));
        stream.more().await;
        // Pods waited, and none was admitted without review.
        stream.end().await.assert_none_wrong();
        let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
        stream.more().await;
        stream.end().await.assert_flawless();
    }
}
