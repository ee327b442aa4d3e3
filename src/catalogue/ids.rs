//! Row ids that cannot be mixed up.

use serde::{Deserialize, Serialize};

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
        #[sqlx(transparent)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// A path below a raw root.
    FileId
);
row_id!(
    /// An exposure of an arm.
    FrameId
);
row_id!(
    /// One content of a frame.
    VersionId
);
row_id!(
    /// One execution of an observing template by an arm.
    TemplateId
);
row_id!(
    /// A set of frames.
    SetId
);
row_id!(
    /// One recipe on one content of a set.
    JobId
);
row_id!(
    /// A product.
    ProductId
);
row_id!(
    /// One item for one sink.
    DeliveryId
);
