use std::sync::{Arc, PoisonError, RwLock};

use http::request::Parts;

use super::{AccessRules, Authorizer};
use crate::{error::Result, grant::Grant};

/// [`AccessRules`] that can be replaced while they are asked. A clone is the same ones.
#[derive(Clone, Debug)]
pub struct SharedAccessRules(Arc<RwLock<Arc<AccessRules>>>);

impl SharedAccessRules {
    /// These rules, until they are replaced.
    #[must_use]
    pub fn new(rules: AccessRules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// Asks `rules` from now on. A request that is under way goes on.
    ///
    /// If the replaced rules had tokens, [`redact`](AccessRules::redact) still conceals the segment of a path that may be
    /// one.
    pub fn replace(&self, rules: AccessRules) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(rules.after(&current));
    }

    /// The rules as they are now.
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
