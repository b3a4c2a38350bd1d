//! The text output of `fleet status`.

use std::fmt::Write as _;

use anstyle::Style;
use image_swap_core::{
    declaration::UnixTime,
    status::{
        NodeCondition,
        node_mirror::TRUE,
        workload_cluster::{APPLIED, HEALTHY, reason, state},
    },
};
use image_swap_fleet::{ClusterRow, FleetOverview, unix_time};

use crate::{
    age::ago,
    output::{BAD, DIM, GOOD, ODD, STRONG, counted, styled},
};

/// The width of the names of rows, in columns.
const NAMES: usize = 14;
/// The width of the progress bar, in columns.
const BAR: usize = 30;
/// The columns of the table.
const HEADINGS: [&str; 9] = [
    "namespace",
    "cluster",
    "wanted",
    "revision",
    "state",
    "webhook",
    "nodes",
    "pods",
    "heartbeat",
];
/// The index of the state in [`HEADINGS`].
const STATE: usize = 4;

/// Returns `overview` as text.
pub(super) fn text(overview: &FleetOverview) -> String {
    let mut text = String::new();
    let FleetOverview { in_force, total, states, clusters, unreadable, read, .. } = overview;
    let count = format!("{in_force} of {} in force", counted(*total, "cluster"));
    let style = if overview.healthy { GOOD } else { ODD };
    row(&mut text, "fleet", &styled(style, &count));
    let others = states.iter().filter(|(state, _)| *state != state::IN_FORCE);
    let others = others.map(|(state, count)| styled(style_of(state), &format!("{count} {state}")));
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        row(&mut text, "", &others.join(", "));
        row(&mut text, "progress", &bar(*in_force, *total));
    }
    if !clusters.is_empty() {
        text.push('\n');
        table(&mut text, clusters, *read);
    }
    let mut list = String::new();
    for cluster in clusters {
        problem(&mut list, cluster, *read);
    }
    for reason in unreadable {
        let _ = writeln!(list, "{}: {reason}", styled(BAD, "unreadable"));
    }
    if *total == 0 && unreadable.is_empty() {
        let label = styled(ODD, "note");
        let _ = writeln!(list, "{label}: no WorkloadCluster; check the chart's fleet.namespaces");
    }
    if !list.is_empty() {
        text.push('\n');
    }
    text + &list
}

fn row(text: &mut String, name: &str, value: &str) {
    // Padded before it is coloured: colours have no width.
    let name = styled(DIM, &format!("{name:<NAMES$}"));
    let _ = writeln!(text, "{name}{value}");
}

/// Returns a progress bar of the clusters with the declaration in force.
fn bar(in_force: usize, total: usize) -> String {
    let full = (in_force * BAR).checked_div(total).unwrap_or(BAR);
    let percent = (in_force * 100).checked_div(total).unwrap_or(100);
    let full_part = styled(GOOD, &"#".repeat(full));
    format!("[{full_part}{}] {percent} %", ".".repeat(BAR - full))
}

fn table(text: &mut String, clusters: &[ClusterRow], now: UnixTime) {
    let rows: Vec<[String; 9]> = clusters.iter().map(|it| cells(it, now)).collect();
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|nth| {
            let cells = rows.iter().map(|row| row[nth].chars().count());
            cells.max().unwrap_or_default().max(HEADINGS[nth].len())
        })
        .collect();
    let line = |cells: &[&str], style: &dyn Fn(usize) -> Style| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(nth, (cell, width))| {
            let is_last = nth + 1 == cells.len();
            let cell = if is_last { (*cell).to_owned() } else { format!("{cell:<width$}") };
            styled(style(nth), &cell)
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    let _ = writeln!(text, "{}", line(&HEADINGS, &|_| DIM));
    for (cluster, cells) in clusters.iter().zip(&rows) {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let state = style_of(&cluster.state);
        let style = |nth| if nth == STATE { state } else { Style::new() };
        let _ = writeln!(text, "{}", line(&cells, &style));
    }
}

fn cells(cluster: &ClusterRow, now: UnixTime) -> [String; 9] {
    let status = &cluster.status;
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let filled = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let heartbeat = match status.last_heartbeat_time.as_deref().map(unix_time) {
        Some(Some(time)) => ago(time, now),
        Some(None) => "unknown".to_owned(),
        None if status.webhook.is_empty() => "-".to_owned(),
        None => "fresh".to_owned(),
    };
    [
        cluster.namespace.clone(),
        cluster.name.clone(),
        number(status.wanted_revision),
        number(status.applied_revision),
        cluster.state.clone(),
        filled(&status.webhook),
        filled(&status.node_summary),
        number(status.pods_not_from_mirror.map(u64::from)),
        heartbeat,
    ]
}

/// Writes the reason why a cluster is not in force, with its remedy.
fn problem(text: &mut String, cluster: &ClusterRow, now: UnixTime) {
    let ClusterRow { namespace, name, state, status, .. } = cluster;
    if state == state::IN_FORCE {
        return;
    }
    let is_applied = status.condition(APPLIED).is_some_and(|it| it.status == TRUE);
    let kind = if is_applied { HEALTHY } else { APPLIED };
    let message = status.condition(kind).map_or("", |it: &NodeCondition| &it.message);
    let label = if status.last_error.is_some() {
        styled(BAD, &format!("error[{state}]"))
    } else {
        styled(ODD, &format!("note[{state}]"))
    };
    let mut line = format!("{label}: {}", styled(STRONG, &format!("{namespace}/{name}")));
    if !message.is_empty() {
        let _ = write!(line, ": {message}");
    }
    if let Some(since) = status.last_error_time.as_deref().and_then(unix_time) {
        let _ = write!(line, " {}", styled(DIM, &format!("(first {})", ago(since, now))));
    }
    let remedy = remedy(state, status.condition(HEALTHY).map_or("", |it| &it.reason));
    if !remedy.is_empty() {
        let _ = write!(line, "; {remedy}");
    }
    let _ = writeln!(text, "{line}");
}

/// Returns the remedy for a cluster with this state, and this reason of the condition Healthy;
/// empty if none is needed.
fn remedy(state: &str, health: &str) -> &'static str {
    match (state, health) {
        (reason::UNREACHABLE, _) => "check its API server, and the network to it",
        (reason::DUPLICATE, _) => "delete one of the two entries",
        (reason::CONFLICT, _) => "remove these fields from the other writer",
        (reason::FAILED, _) => "the fleet controller tries again",
        (reason::PAUSED, _) => "to resume, remove the annotation image-swap.io/fleet of its object",
        (reason::ORPHANED, _) => {
            "declare again, or remove it by the annotation image-swap.io/fleet=removed"
        }
        (state::UNHEALTHY, reason::HEARTBEAT_STALE) => "check the controller in that cluster",
        (state::UNHEALTHY, reason::DRIFT) => "stop the other writer",
        (state::UNHEALTHY, _) => "run `image-swap status` in that cluster",
        _ => "",
    }
}

fn style_of(state: &str) -> Style {
    match state {
        state::IN_FORCE => GOOD,
        state::UNHEALTHY
        | reason::UNREACHABLE
        | reason::REFUSED
        | reason::DUPLICATE
        | reason::CONFLICT
        | reason::FAILED => BAD,
        _ => ODD,
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::status::{
        cluster_summary::{ClusterSummary, NodeCount, WebhookSummary},
        workload_cluster::{
            ApplyOutcome, ClusterContact, ClusterFacts, HeartbeatFacts, WantedDeclaration,
            status_of,
        },
    };

    use super::*;

    const NOW: &str = "1970-01-01T00:10:00Z";

    fn in_force() -> ClusterFacts {
        ClusterFacts {
            contact: ClusterContact::Reached,
            wanted: WantedDeclaration::Revision(3),
            outcome: ApplyOutcome::Complete,
            stored: Some(3),
            heartbeat: HeartbeatFacts {
                summary: Some(ClusterSummary {
                    registry_info_revision: Some(3),
                    webhook: WebhookSummary::Fail,
                    nodes: Some(NodeCount { total: 2, applied: 2, verified: 2 }),
                    ..ClusterSummary::default()
                }),
                received: Some(NOW.into()),
                is_stale: false,
            },
            ..ClusterFacts::default()
        }
    }

    fn cluster(name: &str, facts: &ClusterFacts) -> ClusterRow {
        let status = status_of(facts, None, NOW);
        ClusterRow {
            namespace: "team-a".into(),
            name: name.into(),
            state: status.state().into(),
            status,
            ..ClusterRow::default()
        }
    }

    fn plain(overview: &FleetOverview) -> String {
        anstream::adapter::strip_str(&text(overview)).to_string()
    }

    #[test]
    fn clusters_are_listed_with_problems_and_remedies() {
        let contact = ClusterContact::Unreachable("the connection timed out".into());
        let gone = ClusterFacts { contact, ..ClusterFacts::default() };
        let mut stale = in_force();
        stale.heartbeat.is_stale = true;
        let paused = ClusterFacts { is_paused: true, ..ClusterFacts::default() };
        let rows = vec![
            cluster("one", &in_force()),
            cluster("two", &gone),
            cluster("three", &stale),
            cluster("four", &paused),
        ];
        let overview = FleetOverview::of(rows, Vec::new(), 1200);
        insta::assert_snapshot!(plain(&overview));
    }

    #[test]
    fn healthy_fleet_has_no_list() {
        let rows = vec![cluster("one", &in_force())];
        let overview = FleetOverview::of(rows, Vec::new(), 1200);
        insta::assert_snapshot!(plain(&overview));
    }

    #[test]
    fn absence_and_unreadable_namespaces_are_shown() {
        let empty = FleetOverview::of(Vec::new(), Vec::new(), 0);
        assert!(plain(&empty).contains("note: no WorkloadCluster"), "{}", plain(&empty));
        let refused = FleetOverview::of(Vec::new(), vec!["cannot list (403)".into()], 0);
        assert!(plain(&refused).ends_with("unreadable: cannot list (403)\n"));
    }
}
