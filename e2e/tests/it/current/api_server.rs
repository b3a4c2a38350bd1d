//! Features of the API server: `EndpointSlices`, admission policies of the
//! administrator, and the audit log.

use std::fs;

use anyhow::{Result, ensure};
use image_swap_e2e::{DEADLINE, Install, PAGE_VALUES, Stage, StageOptions, known_failure, pod};
use image_swap_testbed::{Wait, until};
use serde_json::Value;

use super::{REDIS, SOON};
use crate::{NGINX, assert_air_gap, imageswap, publish_nginx, workloads::items};

/// The namespace with admission policies.
const GUARDED: &str = "guarded";

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn api_server_features_work_beside_the_webhook() -> Result<()> {
    let stage = Stage::start_with(StageOptions { audit: true, ..StageOptions::default() })?;
    publish_nginx(&stage)?;
    stage.install(&Install::with(&[PAGE_VALUES, "adopt: true"]))?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    replicas_are_in_endpoint_slices(&stage)?;
    policies_coexist(&stage)?;
    audit_log_has_decisions(&stage)?;
    living_webhook_stays(&stage)?;
    assert_air_gap(&stage);
    Ok(())
}

fn replicas_are_in_endpoint_slices(stage: &Stage) -> Result<()> {
    stage.step("each replica behind the Service is in an EndpointSlice");
    let of_service = "labelSelector=kubernetes.io/service-name=image-swap-admission";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slices = items(stage, &format!("{slices}?{of_service}"))?;
    let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let mut found: Vec<&str> = ready.filter_map(|it| it["addresses"][0].as_str()).collect();
    let replicas = "/api/v1/namespaces/default/pods\
                    ?labelSelector=app.kubernetes.io/component=admission";
    let replicas = items(stage, replicas)?;
    let mut expected: Vec<&str> =
        replicas.iter().filter_map(|replica| replica["status"]["podIP"].as_str()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!((found.len(), &found), (2, &expected), "{slices:?}");
    Ok(())
}

const POLICIES: &str = r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: company-registry}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [pods]}
  validations:
    - expression: object.spec.containers.all(it, it.image.startsWith('harbor.example.org/'))
      message: every image comes from the company's registry
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: company-registry}
spec:
  policyName: company-registry
  validationActions: [Deny]
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: guarded}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: injected}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules:
      - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  matchConditions:
    - {name: once, expression: '!object.spec.containers.exists(it, it.name == ''injected'')'}
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration:
        expression: >-
          Object{spec: Object.spec{containers: [
            Object.spec.containers{name: 'injected', image: 'redis:7'}
          ]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: injected}
spec:
  policyName: injected
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: guarded}}
";

fn policies_coexist(stage: &Stage) -> Result<()> {
    stage.step("an image that a policy injects is swapped, and a policy sees swapped images");
    stage.control_plane.create_namespace(GUARDED)?;
    stage.apply(POLICIES)?;
    let pods = format!("/api/v1/namespaces/{GUARDED}/pods?dryRun=All");
    let images = |pod: &Value| -> Vec<String> {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers.filter_map(|it| it["image"].as_str().map(str::to_owned)).collect()
    };
    // The API server needs a moment to put policies in force.
    let stored = until("the injected container", DEADLINE, || {
        let stored = stage.control_plane.create(&pods, &pod("web", "nginx:1.25"))?;
        let images = images(&stored);
        if images.len() == 2 { Ok(images) } else { Err(Wait::NotYet(format!("{images:?}"))) }
    })?;
    assert_eq!(stored, [NGINX, REDIS]);

    // The page declares no mirror for this registry.
    let foreign = pod("foreign", "registry.example.com/tool:1");
    let message = until("the refusal of another registry", DEADLINE, || {
        let answer = stage.control_plane.request("POST", &pods, Some(&foreign))?;
        if answer.status == 422 { Ok(answer.body) } else { Err(Wait::NotYet(answer.body)) }
    })?;
    assert!(message.contains("every image comes from the company's registry"), "{message}");
    Ok(())
}

/// A pod is created and updated, and another one is created for the system. The three
/// webhooks of the registration put their decisions into the audit log.
fn audit_log_has_decisions(stage: &Stage) -> Result<()> {
    stage.step("the audit log has the decisions of each webhook");
    stage.control_plane.create("/api/v1/namespaces/default/pods", &pod("audited", "nginx:1.25"))?;
    stage
        .control_plane
        .create("/api/v1/namespaces/kube-system/pods", &pod("audited", "nginx:1.25"))?;
    stage.kubectl(&["set", "image", "pod/audited", "main=redis:7"])?;
    for (webhook, namespace, from, to) in [
        ("pods", "default", "nginx:1.25", NGINX),
        ("system", "kube-system", "nginx:1.25", NGINX),
        ("updates", "default", "redis:7", REDIS),
    ] {
        let key = format!("{webhook}.image-swap.io/decisions");
        let decisions = until(&format!("the annotation {key}"), DEADLINE, || {
            let log = fs::read_to_string(stage.audit_log());
            let log = log.map_err(|error| Wait::NotYet(error.to_string()))?;
            let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut events = events.filter(|event| {
                let of = &event["objectRef"];
                of["name"] == "audited" && of["namespace"] == namespace
            });
            let found =
                events.find_map(|event| Some(event["annotations"][&key].as_str()?.to_owned()));
            found.ok_or_else(|| Wait::NotYet(format!("{} lines without it", log.lines().count())))
        })?;
        let decisions: Value = serde_json::from_str(&decisions)?;
        let decision = &decisions["main"];
        assert_eq!((&decision["from"], &decision["to"]), (&from.into(), &to.into()), "{decisions}");
    }
    Ok(())
}

/// A living webhook of upstream's program. Its Service has no selector, and its only
/// endpoint is in an `EndpointSlice`.
fn living_webhook_stays(stage: &Stage) -> Result<()> {
    stage.step("adopt: true removes no living webhook");
    stage.control_plane.create_namespace("imageswap-system")?;
    stage.publish("listener", "1", "listener", &["httpd", "-f", "-p", "5000"])?;
    stage.kubectl(&["run", "listener", "--image=harbor.example.org/airgap-images/listener:1"])?;
    let listener = stage.wait_pod("default", "listener")?;
    let address = listener["status"]["podIP"].as_str().unwrap();
    stage.apply(&format!(
        r"
apiVersion: v1
kind: Service
metadata: {{name: imageswap, namespace: imageswap-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: 5000}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: imageswap
  namespace: imageswap-system
  labels: {{kubernetes.io/service-name: imageswap}}
addressType: IPv4
ports: [{{name: https, port: 5000, protocol: TCP}}]
endpoints: [{{addresses: ['{address}'], conditions: {{ready: true}}}}]
"
    ))?;
    stage.apply(&imageswap::registration("imageswap-system"))?;
    known_failure(
        "a living webhook with only an EndpointSlice is taken for dead and removed",
        || {
            until("the report of a living webhook", SOON, || {
                let status = stage.status(&Install::default());
                let status = status.map_err(|error| Wait::NotYet(error.to_string()))?;
                let is_alive = status["foreign"][0]["alive"] == true;
                if is_alive { Ok(()) } else { Err(Wait::NotYet(status["foreign"].to_string())) }
            })?;
            let left = stage.kubectl(&["get", "mutatingwebhookconfigurations", "--output=name"])?;
            ensure!(left.contains("imageswap-webhook"), "{left}");
            Ok(())
        },
    )
}
