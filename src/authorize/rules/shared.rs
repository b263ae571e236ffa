use std::sync::{Arc, PoisonError, RwLock};

use http::request::Parts;

use super::AccessRules;
use crate::{authorize::Authorizer, error::Result, grant::Grant};

/// [`AccessRules`] that can be replaced while requests are served. Clones share the rules.
#[derive(Clone, Debug)]
pub struct SharedAccessRules(Arc<RwLock<Arc<AccessRules>>>);

impl SharedAccessRules {
    /// Creates shared rules, initially `rules`.
    #[must_use]
    pub fn new(rules: AccessRules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// Replaces the rules for all later requests.
    ///
    /// If the old rules had tokens, [`redact_path`](AccessRules::redact_path) still redacts the segment of a path that
    /// may be one.
    pub fn replace(&self, rules: AccessRules) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(rules.replacing(&current));
    }

    /// Returns the current rules.
    #[must_use]
    pub fn current(&self) -> Arc<AccessRules> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authorizer for SharedAccessRules {
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        let rules = self.current();
        rules.authorize(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::Credential;

    #[test]
    fn redacts_the_tokens_of_replaced_rules() {
        const TOKEN: &str = "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";
        let with_token = AccessRules::new().credential(Credential::token(TOKEN));
        let with_password = || AccessRules::new().credential(Credential::password("kazoo", "a long secret"));
        let rules = SharedAccessRules::new(with_token);
        for _ in 0..2 {
            rules.replace(with_password());
            let path = format!("/p/{TOKEN}/ACC/DOC/x.mp3");
            let shown = rules.current().redact_path("/p", &path).into_owned();
            assert!(!shown.contains(TOKEN), "{shown}");
        }
    }
}
