//! The laws about the end of a body: all-or-error and confirmed end.

use bytes::Bytes;
use http::{Method, Request, Version, header};

use super::{Run, Verdict, block_on, declaring, hold, run};
use crate::{
    body::{Script, Step},
    table::{
        Subject,
        sample::{Expect, Sample},
    },
};

/// The lengths at which a body of `len` bytes is cut off: every length if it is small, a sample of them otherwise.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let (edge, step) = if len <= 4096 { (150, 53) } else { (8, 9973) };
    (0..len).filter(move |at| *at < edge || at + edge >= len || at % step == 0)
}

/// A truncated body is never emitted with a clean end.
pub(crate) fn all_or_error(subject: &Subject) -> Verdict {
    block_on(async {
        for sample in &subject.samples {
            for len in cuts(sample.body.len()) {
                let part = || Step::Data(sample.body.slice(..len));
                let declared = declaring(&sample.head, sample.body.len());
                for (how, head, steps) in [
                    ("then an error", &sample.head, vec![part(), Step::Fail]),
                    (
                        "then an error, its length declared",
                        &declared,
                        vec![part(), Step::Pause, Step::Fail],
                    ),
                    ("of the declared length", &declared, vec![part()]),
                ]
                .into_iter()
                .chain(
                    sample
                        .delimited
                        .then(|| ("without the rest", &sample.head, vec![part()])),
                ) {
                    let failed = matches!(steps.last(), Some(Step::Fail));
                    let run = run(subject, head, Script::new(steps)).await;
                    judge(subject, sample, &run, failed)
                        .map_err(|broken| format!("{}, the first {len} bytes {how}: {broken}", sample.name))?;
                }
            }
        }
        Ok(())
    })
}

fn judge(subject: &Subject, sample: &Sample, run: &Run, failed: bool) -> Verdict {
    for seen in &run.seen {
        hold!(
            !seen.body.recants,
            "the emitted body ended with {:?} and then went on",
            seen.body.end
        );
    }
    let mut all_there = false;
    for seen in run.emitted() {
        hold!(!failed, "a clean end was emitted: {}", seen.fingerprint());
        let whole = matches!(&sample.expect, Expect::Emitted(body, _) if *body == seen.body.data);
        // The reader can tell by itself if the declared length is still there.
        let declared = seen
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|len| len.to_str().ok()?.parse().ok());
        let tells = !subject.stores && declared.is_some_and(|len: usize| len > seen.body.data.len());
        hold!(whole || tells, "a clean end was emitted: {}", seen.fingerprint());
        all_there |= whole;
    }
    let answers_itself = subject.stores || run.seen.is_empty();
    // A fetch has no body to be cut off.
    if answers_itself && !all_there && sample.head.method() != http::Method::GET {
        hold!(!run.status.is_success(), "answered {}", run.status);
    }
    Ok(())
}

/// Over HTTP/2, an unconfirmed end is never the end of a whole body. A confirmed one is treated as over HTTP/1.1.
pub(crate) fn confirmed_end(subject: &Subject) -> Verdict {
    let http2 = |head: &Request<()>| {
        let mut head = head.clone();
        *head.version_mut() = Version::HTTP_2;
        head
    };
    let result = |run: &Run| {
        (
            run.status,
            run.emitted().map(|seen| seen.body.data.clone()).collect::<Vec<_>>(),
        )
    };
    block_on(async {
        for Sample { name, head, body, .. } in &subject.samples {
            let expected = result(&run(subject, head, Script::new([Step::Data(body.clone())])).await);
            let confirmed = Script::new([Step::Data(body.clone())]).confirmed();
            let confirmed = result(&run(subject, &http2(head), confirmed).await);
            hold!(
                confirmed == expected,
                "{name}: {confirmed:?} over HTTP/2, and {expected:?} over HTTP/1.1"
            );
            let declared = http2(&declaring(head, body.len()));
            let declared = result(&run(subject, &declared, Script::new([Step::Data(body.clone())])).await);
            hold!(declared == expected, "{name}: {declared:?} of the declared length");
        }
        let samples = subject.samples.iter().map(|sample| (&sample.head, sample.body.clone()));
        let plain = subject.plain.iter().map(|head| (head, Bytes::from_static(b"ID3")));
        for (head, body) in samples.chain(plain) {
            if !matches!(*head.method(), Method::PUT | Method::POST) {
                continue;
            }
            for len in cuts(body.len()).chain([body.len()]) {
                let torn = Script::new([Step::Data(body.slice(..len)), Step::Pause]);
                let run = run(subject, &http2(head), torn).await;
                let what = format!("{} {}, {len} bytes", head.method(), head.uri());
                let mut passed_on = false;
                for seen in run.emitted() {
                    // A service sees the version and can check; a store cannot.
                    passed_on = seen.version == Version::HTTP_2 && !seen.body.confirmed;
                    hold!(passed_on, "{what}: a whole body was emitted");
                }
                hold!(passed_on || !run.status.is_success(), "{what}: answered {}", run.status);
            }
        }
        Ok(())
    })
}
