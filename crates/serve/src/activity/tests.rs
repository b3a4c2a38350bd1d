use std::{future::Future as _, net::Ipv4Addr, task::Context, time::Duration};

use tokio::time::timeout;

use super::*;
use crate::{
    limits::{Limits, MEMORY, STREAM},
    memory::Purpose,
};

fn mk_activity() -> Arc<Activity> {
    let memory = MemoryBudget::new(MEMORY, &Limits::default());
    let arrival = memory.arrival();
    Arc::new(Activity::new(memory, Ipv4Addr::LOCALHOST.into(), arrival))
}

#[tokio::test]
async fn connection_with_unanswered_request_is_not_quiet() {
    const MOMENT: Duration = Duration::from_millis(1);
    let activity = mk_activity();
    let work = activity.request(None);
    assert!(timeout(MOMENT * 20, activity.quiet(MOMENT)).await.is_err());
    drop(work);
    activity.quiet(MOMENT).await;
}

#[test]
fn bytes_behind_a_request_stay_charged() {
    let activity = mk_activity();
    activity.received(9000);
    activity.read(9000);
    let mut work = activity.request(Some(100));
    work.read(900);
    drop(work);
    assert_eq!(activity.held(), 8000);
    let mut work = activity.request(Some(100));
    work.read(7900);
    drop(work);
    assert_eq!((activity.held(), activity.memory.used()), (0, 0));
}

#[test]
fn bytes_of_an_incomplete_record_stay_charged() {
    let activity = mk_activity();
    activity.received(9000);
    activity.read(1000);
    activity.seal(8000);
    drop(activity.request(Some(1000)));
    assert_eq!(activity.held(), 16_000);
    activity.seal(0);
    drop(activity.request(Some(0)));
    assert_eq!(activity.held(), 0);
}

#[tokio::test]
async fn http2_connection_pauses_while_a_body_waits() {
    let activity = mk_activity();
    activity.memory.take(MEMORY);
    let work = activity.request(None);
    let cx = &mut Context::from_waker(std::task::Waker::noop());
    let mut room = Box::pin(work.room(Purpose::Large));
    assert!(room.as_mut().poll(cx).is_pending());
    assert!(activity.is_paused());
    activity.memory.give(MEMORY);
    assert!(room.await);
    activity.resumed().await;
}

#[test]
fn answer_is_charged_until_it_is_dropped() {
    for head in [None, Some(100)] {
        let activity = mk_activity();
        let mut work = activity.request(head);
        work.charge(5000);
        work.complete();
        assert_eq!(activity.state(), ConnectionState::Complete);
        let mut answer = work.answer(vec![0; 100_000].into());
        let rest = answer.split_off(99_999);
        drop(answer);
        assert_eq!(activity.held(), 100_000 + if head.is_none() { STREAM } else { 0 });
        assert!(matches!(activity.state(), ConnectionState::Unfinished { .. }));
        drop(rest);
        assert_eq!(activity.held(), 0);
        assert!(matches!(activity.state(), ConnectionState::Idle { .. }));
    }
}
