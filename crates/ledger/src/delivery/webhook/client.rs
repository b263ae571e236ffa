//! [`Client`]: sends events to a webhook.

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use kazoo_storage::{Error, ErrorKind, Result};
use reqwest::{Response, StatusCode, header, redirect};
use tokio::{sync::oneshot, time::timeout};
use url::Url;

use super::{endpoint::Webhook, signature::Secret, thread::Thread};
use crate::{
    delivery::{answer::Answer, cloud_event, receiver::Receiver, resolver::Resolver},
    event::Event,
};

const USER_AGENT: &str = concat!("kazoo-storage/", env!("CARGO_PKG_VERSION"));

/// Maximum length of an answer's body that is read so that its connection can be used again, in bytes.
const DRAIN: usize = 16 << 10;

/// Time limit for reading it.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Sends events to one webhook.
pub(in crate::delivery) struct Client {
    http: reqwest::Client,
    thread: Thread,
    url: Url,
    secrets: Vec<Secret>,
    timeout: Duration,
}

impl Client {
    pub(in crate::delivery) fn new(webhook: &Webhook, receiver: &Receiver) -> Result<Self> {
        let mut http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            // Each event has a connection of its own, whose buffers have a maximum length.
            .http1_only()
            .pool_max_idle_per_host(receiver.in_flight)
            .dns_resolver(Arc::new(Resolver::new()));
        // A system without authorities can still send over plain HTTP.
        if webhook.url.scheme() == "http" || !webhook.authorities.is_empty() {
            http = http.tls_certs_only(webhook.authorities.iter().cloned());
        }
        let http = http.build().map_err(|error| {
            let message = format!("the webhook {} cannot use TLS: {}", receiver.name, chain(error));
            Error::new(ErrorKind::InvalidRequest, message)
        })?;
        let thread = Thread::start().map_err(|error| {
            let message = format!("no thread can be started for the webhook {}", receiver.name);
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        Ok(Self {
            http,
            thread,
            url: webhook.url.clone(),
            secrets: webhook.secrets.clone(),
            timeout: receiver.timeout,
        })
    }

    /// Sends `event`, whose `CloudEvent` is `body`, and waits for the answer.
    pub(in crate::delivery) async fn send(&self, event: &Event, body: Vec<u8>) -> Answer {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs();
        let secrets = self.secrets.iter();
        let signatures: Vec<String> = secrets.map(|secret| secret.sign(&event.id, timestamp, &body)).collect();
        let request = self
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, cloud_event::CONTENT_TYPE)
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(body);
        let (answer, mut answered) = oneshot::channel();
        let mut attempt = self.thread.run(async move {
            match request.send().await {
                Ok(response) => {
                    let _ = answer.send(judge(&response));
                    drain(response).await;
                }
                Err(error) => drop(answer.send(Answer::failed(chain(error)))),
            }
        });
        // The timer is not one of that thread, which may be occupied.
        let _ = timeout(self.timeout, attempt.join_next()).await;
        answered.try_recv().unwrap_or_else(|_| Answer::timed_out(self.timeout))
    }
}

fn judge(response: &Response) -> Answer {
    let status = response.status();
    if status.is_success() {
        return Answer::Delivered;
    }
    if status == StatusCode::GONE {
        return Answer::Gone {
            error: format!("the receiver answered {status}"),
        };
    }
    let error = if status.is_redirection() {
        format!("the receiver answered {status}; redirects are not followed: configure the URL that it leads to")
    } else {
        format!("the receiver answered {status}")
    };
    let retry_after = response.headers().get(header::RETRY_AFTER);
    Answer::Failed {
        error,
        retry_after: retry_after
            .and_then(|value| value.to_str().ok())
            .and_then(|text| delay(text, SystemTime::now())),
    }
}

/// Parses a `Retry-After`: seconds, or a date.
fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    let seconds = text.trim().parse().map(Duration::from_secs).ok();
    seconds.or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(now).ok())
}

async fn drain(mut response: Response) {
    let read = async {
        let mut left = DRAIN;
        while let Ok(Some(chunk)) = response.chunk().await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                break;
            };
            left = rest;
        }
    };
    let _ = timeout(DRAIN_TIME, read).await;
}

/// Returns the error and its causes, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let date = httpdate::fmt_http_date(now + Duration::from_secs(90));
        for (text, expected) in [
            ("120", Some(Duration::from_secs(120))),
            (&date, Some(Duration::from_secs(90))),
            ("Wed, 01 Jan 2020 00:00:00 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(delay(text, now), expected, "{text}");
        }
    }
}
