//! Loops that send requests. Closed loops send one request after another, and open loops send at
//! a rate.

use std::time::{Duration, Instant};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::Outcome;

/// A client that sends one kind of request.
pub trait LoadClient: Send + 'static {
    /// Sends a request, and waits until its answer is complete.
    ///
    /// # Errors
    /// Returns an error if there is no answer, or it is unexpected.
    fn request(&mut self) -> impl Future<Output = Outcome<()>> + Send;
}

/// The answers of one round of [`open`].
#[derive(Debug)]
pub struct OpenRound {
    /// Latency of each request, in milliseconds.
    pub latencies: Vec<f64>,
    /// True if the answers were as fast as the requests.
    pub held: bool,
}

/// Sends requests for `time`, and returns the number of answers. Each client sends its next
/// request after the answer to the previous one.
///
/// # Errors
/// Returns the error of a failed request. `clients` is incomplete after an error.
pub async fn closed<C: LoadClient>(clients: &mut Vec<C>, time: Duration) -> Outcome<f64> {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for mut client in clients.drain(..) {
        tasks.spawn(async move {
            let mut answers = 0_u32;
            while Instant::now() < end {
                client.request().await?;
                answers += 1;
            }
            Outcome::Ok((client, answers))
        });
    }
    let mut sum = 0.0;
    while let Some(done) = tasks.join_next().await {
        let (client, answers) = done??;
        clients.push(client);
        sum += f64::from(answers);
    }
    Ok(sum)
}

/// Sends `rate` requests a second for `time`, without waiting for earlier answers.
///
/// # Errors
/// Returns the error of a failed request.
pub async fn open<C: LoadClient + Clone>(
    client: &C,
    rate: f64,
    time: Duration,
) -> Outcome<OpenRound> {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    while begun.elapsed() < time {
        ticks.tick().await;
        let mut client = client.clone();
        tasks.spawn(async move {
            let begun = Instant::now();
            client.request().await?;
            Outcome::Ok(begun.elapsed().as_secs_f64() * 1e3)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.push(done??);
    }
    // Late answers at the end show a queue that would have grown.
    let held = begun.elapsed() < time.mul_f64(1.05);
    Ok(OpenRound { latencies, held })
}
