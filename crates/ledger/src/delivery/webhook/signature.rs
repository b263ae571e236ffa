//! [`Secret`]: signs events as Standard Webhooks describes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use kazoo_storage::{Error, ErrorKind, Result};
use sha2::Sha256;

const PREFIX: &str = "whsec_";

/// A key that signs events. Without `Debug`, so that it is never logged.
#[derive(Clone)]
pub(super) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Parses `whsec_` and the key in base64. The error does not contain it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(invalid("does not begin with `whsec_`"));
        };
        let key = STANDARD
            .decode(encoded)
            .map_err(|_| invalid("is not base64 after `whsec_`"))?;
        if !(24..=64).contains(&key.len()) {
            let len = key.len();
            return Err(invalid(&format!(
                "has {len} bytes after decoding; use 24 to 64 of them"
            )));
        }
        let mac = Hmac::new_from_slice(&key).map_err(|_| invalid("has a wrong length"))?;
        Ok(Self(mac))
    }

    /// Returns the signature of an event, such as `v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

fn invalid(fault: &str) -> Error {
    let message =
        format!("the secret {fault}; create one with: echo \"whsec_$(head --bytes 32 /dev/urandom | base64)\"");
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn signs_as_standard_webhooks_does() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn refuses_weak_and_malformed_secrets_without_showing_them() {
        let short = STANDARD.encode([7; 23]);
        let long = STANDARD.encode([7; 65]);
        for (text, reason) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with"),
            ("whsec_hunter2", "not base64"),
            (&format!("whsec_{short}"), "23 bytes"),
            (&format!("whsec_{long}"), "65 bytes"),
        ] {
            let error = Secret::parse(text).err().unwrap();
            assert!(error.message().contains(reason), "{error}");
            assert!(!error.message().contains(text.trim_start_matches(PREFIX)), "{error}");
        }
    }
}
