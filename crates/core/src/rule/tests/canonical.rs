//! Results of the dialect `canonical`, stage by stage.

use super::{Reason::*, leaves, rules, swaps};

const DIGEST: &str = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn references_are_normalised_before_rules_match() {
    for image in ["nginx", "docker.io/nginx", "library/nginx", "index.docker.io/library/nginx"] {
        swaps("docker.io::h.io/d", image, "h.io/d/library/nginx", Rule);
    }
    swaps("docker.io::h.io/d", "bitnami/redis:7", "h.io/d/bitnami/redis:7", Rule);
}

// guarantee: 2a
#[test]
fn tag_and_digest_survive() {
    for end in [":1.25", DIGEST, &[":1.25", DIGEST].concat(), ""] {
        for map in ["docker.io::h.io/d", "default::h.io/d", "docker.io::h.io/x-"] {
            let swapped = rules(map).swap(&["nginx", end].concat()).unwrap().image.into_owned();
            assert!(swapped.ends_with(&["nginx", end].concat()), "{swapped}");
        }
        swaps(
            "[REPLACE]*nginx*::h.io/r",
            &["nginx", end].concat(),
            &["h.io/r/nginx", end].concat(),
            Replace,
        );
    }
}

#[test]
fn longest_key_on_component_boundary_wins() {
    let map = "quay.io::h.io/q,quay.io/team::h.io/t,quay.io/team/app::h.io/a,default::h.io/x";
    swaps(map, "quay.io/other/app:1", "h.io/q/other/app:1", Rule);
    swaps(map, "quay.io/team/other:1", "h.io/t/other:1", Rule);
    swaps(map, "quay.io/team/app:1", "h.io/a:1", Rule);
    swaps(map, "quay.io/team/app/sub:1", "h.io/a/sub:1", Rule);
    swaps(map, "quay.io/teams/app:1", "h.io/q/teams/app:1", Rule);
    swaps(map, "quay.io.evil.org/team:1", "h.io/x/team:1", Default);
}

#[test]
fn longest_key_wins_in_any_order() {
    let map = "quay.io/team/app::h.io/a,quay.io::h.io/q,quay.io/team::h.io/t";
    swaps(map, "quay.io/team/app", "h.io/a", Rule);
    swaps(map, "quay.io/team/x", "h.io/t/x", Rule);
}

#[test]
fn key_without_port_matches_ports_without_key() {
    let map = "cool.io::h.io/c,cool.io:443::h.io/p";
    swaps(map, "cool.io/a", "h.io/c/a", Rule);
    swaps(map, "cool.io:443/a", "h.io/p/a", Rule);
    swaps(map, "cool.io:8443/a", "h.io/c/a", Rule);
    leaves("cool.io:443::h.io/p", "cool.io/a", NoRule);
    leaves("cool.io:443::h.io/p", "cool.io:8443/a", NoRule);
    // A path with a port is a key of that port, too.
    leaves("cool.io::h.io/c,cool.io:443/team::h.io/t", "cool.io:443/a", NoRule);
    swaps("cool.io/team::h.io/t", "cool.io:443/team/a:1", "h.io/t/a:1", Rule);
    swaps("[::1]::h.io/six", "[::1]:5000/a", "h.io/six/a", Rule);
    swaps("[::1]:5000::h.io:8443/six", "[::1]:5000/a", "h.io:8443/six/a", Rule);
}

#[test]
fn target_replaces_host_and_port() {
    swaps("cool.io:443::h.io:8443/c", "cool.io:443/a", "h.io:8443/c/a", Rule);
    swaps("default::h.io", "cool.io:443/a/b", "h.io/a/b", Default);
}

#[test]
fn key_hosts_are_normalised() {
    swaps("index.docker.io::h.io/d", "nginx", "h.io/d/library/nginx", Rule);
    swaps("index.docker.io/bitnami::h.io/b", "bitnami/x", "h.io/b/x", Rule);
}

#[test]
fn star_is_literal_in_prefix() {
    leaves("*::h.io/d", "nginx", NoRule);
    leaves("*.gcr.io::h.io/d", "eu.gcr.io/x", NoRule);
}

// guarantee: 2a
#[test]
fn images_below_a_target_are_already_mirrored() {
    let map = "docker.io::h.io/d,h.io::k.io/h";
    leaves(map, "h.io/d/library/nginx:1", AlreadyMirrored);
    leaves(map, "h.io/d:1", AlreadyMirrored);
    swaps(map, "h.io/dd/x", "k.io/h/dd/x", Rule);
    swaps(map, "h.io:443/d/x", "k.io/h/d/x", Rule);
    leaves("gcr.io::docker.io/mirror", "mirror/x", AlreadyMirrored);
    leaves("default::h.io", "h.io/anything", AlreadyMirrored);
    leaves("[REPLACE]*x*::h.io/r", "h.io/r/x", AlreadyMirrored);
    leaves("docker.io::h.io/x-,default::k.io", "h.io/x-gcr.io/y", AlreadyMirrored);
    // A single repository on Docker Hub is below its library.
    swaps("quay.io/a/b::docker.io/app,default::k.io", "quay.io/a/b:1", "docker.io/app:1", Rule);
}

#[test]
fn exact_target_is_mirrored_as_a_whole() {
    let map = "[EXACT]nginx:1::docker.io/library/nginx:2,docker.io::h.io/d";
    leaves(map, "docker.io/library/nginx:2", AlreadyMirrored);
    leaves(map, "nginx:2", AlreadyMirrored);
    swaps(map, "nginx:3", "h.io/d/library/nginx:3", Rule);
}

#[test]
fn exact_matches_original_then_normalised_form() {
    let map = "[EXACT]nginx:1::h.io/e/nginx:1-fips,[EXACT]docker.io/library/nginx:1::h.io/other:1";
    swaps(map, "nginx:1", "h.io/e/nginx:1-fips", Exact);
    swaps(map, "docker.io/library/nginx:1", "h.io/other:1", Exact);
    swaps(map, "docker.io/nginx:1", "h.io/e/nginx:1-fips", Exact);
    leaves("[EXACT]nginx::h.io/e/nginx", "nginx:latest", NoRule);
    leaves("[EXACT]nginx:latest::h.io/e/nginx", "nginx", NoRule);
    swaps("[EXACT]nginx::h.io/e/x", "library/nginx", "h.io/e/x", Exact);
}

#[test]
fn exact_target_keeps_its_spelling() {
    swaps("[EXACT]nginx::index.docker.io/x/y:1", "nginx", "index.docker.io/x/y:1", Exact);
    let digest = ["h.io/e/nginx:1", DIGEST].concat();
    swaps(&["[EXACT]nginx:1::", &digest].concat(), "nginx:1", &digest, Exact);
}

#[test]
fn exact_beats_replace_beats_prefix_beats_default() {
    let map =
        "default::h.io/x,quay.io::h.io/q,[REPLACE]quay.io/a/*::h.io/r,[EXACT]quay.io/a/b::h.io/e";
    swaps(map, "quay.io/a/b", "h.io/e", Exact);
    swaps(map, "quay.io/a/b:1", "h.io/r/b:1", Replace);
    swaps(map, "quay.io/b/c", "h.io/q/b/c", Rule);
    swaps(map, "gcr.io/b/c", "h.io/x/b/c", Default);
}

#[test]
fn replace_tries_patterns_in_file_order() {
    let map = "[REPLACE]*/app:*::h.io/apps,[REPLACE]quay.io/*::h.io/q,[REPLACE]*::h.io/rest";
    swaps(map, "quay.io/team/app:1", "h.io/apps/app:1", Replace);
    swaps(map, "quay.io/team/web:1", "h.io/q/web:1", Replace);
    swaps(map, "gcr.io/a/b/c", "h.io/rest/c", Replace);
    // The original form is tried before the normalised one.
    swaps("[REPLACE]nginx*::h.io/w", "nginx:1", "h.io/w/nginx:1", Replace);
    swaps("[REPLACE]docker.io/library/*::h.io/l", "nginx:1", "h.io/l/nginx:1", Replace);
    leaves("[REPLACE]nginx::h.io/w", "nginx:1", NoRule);
    // The earlier pattern wins even if only the normalised form matches it.
    swaps("[REPLACE]docker.io/*::h.io/1,[REPLACE]nginx::h.io/2", "nginx", "h.io/1/nginx", Replace);
}

#[test]
fn hyphen_target_is_joined_to_name_without_port() {
    swaps("docker.io::h.io/x-", "nginx:1", "h.io/x-docker.io/library/nginx:1", Rule);
    swaps("cool.io::h.io/x-", "cool.io:443/a/b", "h.io/x-cool.io/a/b", Rule);
    swaps("cool.io:443/a::h.io/x-", "cool.io:443/a/b", "h.io/x-cool.io/a/b", Rule);
    swaps("default::h.io/x-", "quay.io/a/b:1", "h.io/x-quay.io/a/b:1", Default);
    swaps("[REPLACE]quay.io/*::h.io/x-", "quay.io/a/b:1", "h.io/x-b:1", Replace);
}

#[test]
fn empty_value_exempts() {
    let map = "gcr.io::,docker.io/library::,docker.io::h.io/d,default::h.io/x,[EXACT]quay.io/a::,[REPLACE]ecr.*::";
    leaves(map, "gcr.io/x", Disabled);
    leaves(map, "nginx", Disabled);
    swaps(map, "bitnami/x", "h.io/d/bitnami/x", Rule);
    leaves(map, "quay.io/a", Disabled);
    leaves(map, "ecr.aws.com/a", Disabled);
    leaves("docker.io::h.io/d,default::", "gcr.io/x", NoRule);
    leaves("docker.io::h.io/d", "gcr.io/x", NoRule);
}

#[test]
fn noswap_blocks_only_the_default() {
    let map = "gcr.io::h.io/g\nnoswap_wildcards::internal,/team/, ,\ndefault::h.io/x\n";
    leaves(map, "quay.io/internal-tools/a", Noswap);
    leaves(map, "quay.io/team/a", Noswap);
    swaps(map, "gcr.io/internal/a", "h.io/g/internal/a", Rule);
    swaps(map, "quay.io/a/b", "h.io/x/a/b", Default);
    // Neither the tag nor the digest is part of the name; `library/` is.
    swaps(
        "noswap_wildcards::1.25\ndefault::h.io\n",
        "nginx:1.25",
        "h.io/library/nginx:1.25",
        Default,
    );
    leaves("noswap_wildcards::library\ndefault::h.io\n", "nginx", Noswap);
    leaves("noswap_wildcards::x\n", "x", Noswap);
}

#[test]
fn pods_take_the_first_of_several_mirrors() {
    let map = "docker.io::h.io/1,docker.io::h.io/2";
    swaps(map, "nginx", "h.io/1/library/nginx", Rule);
    leaves(map, "h.io/2/library/nginx", AlreadyMirrored);
    swaps("default::h.io/1,default::h.io/2", "nginx", "h.io/1/library/nginx", Default);
    swaps("[EXACT]a::h.io/1,[EXACT]a::h.io/2", "a", "h.io/1", Exact);
}

#[test]
fn target_on_docker_hub_is_below_library() {
    swaps("docker.io::h.io/d", "d", "h.io/d/library/d", Rule);
    leaves("quay.io::docker.io/d", "docker.io/library/d", AlreadyMirrored);
}

#[test]
fn reason_names_never_change() {
    let names = super::Reason::ALL.map(super::Reason::as_str);
    let known = [
        "already-mirrored",
        "exact",
        "replace",
        "rule",
        "default",
        "no-rule",
        "disabled",
        "noswap",
        "invalid-result",
        "image-id",
    ];
    assert_eq!(names, known);
}

#[test]
fn first_default_is_effective() {
    let default = |map| rules(map).default_rule();
    assert_eq!(default("quay.io::h.io,default::h.io/1,default::h.io/2"), Some(1));
    assert_eq!(default("quay.io::h.io"), None);
}

#[test]
fn swapped_path_may_have_maximal_length() {
    let image = |length| ["quay.io/", &"a".repeat(length)].concat();
    for (map, longest) in [("quay.io::h.io/path", 250), ("quay.io::h.io", 255)] {
        let target = map.rsplit(':').next().unwrap();
        let swapped = [target, "/", &"a".repeat(longest)].concat();
        swaps(map, &image(longest), &swapped, Rule);
    }
    leaves("quay.io::h.io/path", &image(251), InvalidResult);
    // On Docker Hub, `library/` counts.
    leaves("quay.io::docker.io", &image(250), InvalidResult);
}

#[test]
fn invalid_result_is_not_used() {
    leaves("docker.io::h.io/UPPER", "nginx", InvalidResult);
    leaves("quay.io/a/b::h.io", "quay.io/a/b:1", InvalidResult);
    let long = ["quay.io/", &"a".repeat(250)].concat();
    leaves("quay.io::h.io/a-path", &long, InvalidResult);
    leaves("[EXACT]nginx::h.io/UPPER", "nginx", InvalidResult);
    leaves("[REPLACE]*::h.io/a__", "nginx", InvalidResult);
}

#[test]
fn rule_without_valid_target_is_ignored() {
    leaves("docker.io::nohost/d", "nginx", NoRule);
    swaps("docker.io::nohost/d,default::h.io", "nginx", "h.io/library/nginx", Default);
}

#[test]
fn scheme_and_api_path_are_removed() {
    swaps("docker.io::https://h.io/v2/d/", "nginx", "h.io/d/library/nginx", Rule);
    swaps("docker.io::http://h.io:5000/d", "nginx", "h.io:5000/d/library/nginx", Rule);
    leaves("docker.io::https://h.io/v2/d", "h.io/d/x", AlreadyMirrored);
}

#[test]
fn name_without_domain_uses_first_component() {
    swaps("default::h.io/d", "a_b.c/d:1", "h.io/d/d:1", Default);
    leaves("docker.io::h.io/d", "a_b.c/d:1", NoRule);
}

#[test]
fn decision_names_its_rule() {
    let set = rules("gcr.io::h.io/g,docker.io::h.io/d,noswap_wildcards::x,y,default::h.io/z");
    let rule = |image| set.swap(image).unwrap().rule.map(|id| set.rules()[id].target.as_str());
    assert_eq!(rule("nginx"), Some("h.io/d"));
    assert_eq!(rule("h.io/g/a"), Some("h.io/g"));
    assert_eq!(rule("m.io/y"), Some("y"));
    assert_eq!(rule("m.io/z"), Some("h.io/z"));
}

#[test]
fn invalid_reference_is_an_error() {
    assert!(rules("docker.io::h.io").swap("Nginx").is_err());
}

#[test]
fn trace_lists_stages_up_to_the_decision() {
    use crate::{
        reference::Reference,
        rule::{StageResult::*, TraceStage},
    };
    let set = rules("quay.io::h.io/q,quay.io/team::h.io/t,default::h.io/x,[REPLACE]a*::h.io/r");
    let trace = |image| set.trace(image, &Reference::parse(image).unwrap());
    let outcomes: Vec<_> = trace("quay.io/team/app").iter().map(|s| (s.stage, s.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            (TraceStage::AlreadyMirrored, No(4)),
            (TraceStage::Exact, No(0)),
            (TraceStage::Replace, No(1)),
            (TraceStage::Prefix, Decided),
            (TraceStage::Noswap, Skipped),
            (TraceStage::Default, Skipped),
        ]
    );
    assert_eq!(trace("quay.io/team/app")[3].matched, [1, 0]);
    assert_eq!(trace("gcr.io/x")[5].outcome, Decided);
    assert_eq!(trace("h.io/q/x")[0].outcome, Decided);
}

#[test]
fn hosts_are_compared_without_regard_to_case() {
    let text =
        "docker.io::h.io/d,GCR.io/team::h.io/g,Quay.IO:5000::Mirror.io/q,noswap_wildcards::Reg";
    swaps(text, "Docker.IO/library/nginx", "h.io/d/library/nginx", Rule);
    swaps(text, "Docker.IO/nginx:1", "h.io/d/library/nginx:1", Rule);
    swaps(text, "Index.docker.IO/org/app", "h.io/d/org/app", Rule);
    swaps(text, "gcr.IO/team/app", "h.io/g/app", Rule);
    swaps(text, "quay.io:5000/a", "Mirror.io/q/a", Rule);
    leaves(text, "mirror.io/q/a", AlreadyMirrored);
    leaves(text, "H.IO/d/nginx", AlreadyMirrored);
    leaves("default::h.io,noswap_wildcards::Reg/x", "REG/x/y", Noswap);
    swaps("[EXACT]GCR.io/a:1::h.io/a:2", "gcr.io/a:1", "h.io/a:2", Exact);
    swaps("[REPLACE]gcr.io/*::h.io/g", "GCR.IO/a/b:1", "h.io/g/b:1", Replace);
    swaps("default::h.io/x-", "GCR.io/a", "h.io/x-gcr.io/a", Default);
}

#[test]
fn image_id_is_unchanged() {
    let id = ["sha256:", &"0a".repeat(32)].concat();
    for text in ["docker.io::h.io/d", "default::h.io", "[REPLACE]*::h.io/r"] {
        leaves(text, &id, ImageId);
    }
    let name = ["sha256:", &"0a".repeat(20)].concat();
    swaps("docker.io::h.io/d", &name, &["h.io/d/library/", &name].concat(), Rule);
}

#[test]
fn rule_with_its_source_as_target_exempts() {
    let map = "default::\ndocker.io::harbor.example.org/m/docker.io\n\
               docker.io/library::harbor.example.org/m/docker.io/library\n[EXACT]auto::auto\n";
    leaves(map, "auto", Disabled);
    leaves(map, "docker.io/library/auto", Disabled);
    swaps(map, "auto:1", "harbor.example.org/m/docker.io/library/auto:1", Rule);
    assert_eq!(rules(map).swap("auto").unwrap().rule, Some(3));
    for text in [
        "[REPLACE]auto::auto,docker.io::h.io",
        "[EXACT]auto::docker.io/library/auto,docker.io::h.io",
        "docker.io/library/auto::https://docker.io/v2/library/auto/,docker.io::h.io",
        "Docker.io/library::index.docker.io/library,docker.io::h.io",
    ] {
        leaves(text, "auto", Disabled);
        swaps(text, "org/auto", "h.io/org/auto", Rule);
    }
    // Plain HTTP is declared for the registry itself: for nodes that is not an identity.
    leaves("quay.io::http://quay.io", "quay.io/a", AlreadyMirrored);
}
