//! The certificate authorities that encrypted connections trust.

use rustls::pki_types::CertificateDer;

use crate::{Error, Result};

/// The certificate authorities that this machine trusts, or those in the file that the environment variable `SSL_CERT_FILE` names.
///
/// # Errors
/// If there are none.
pub(super) fn roots() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(Error::Request(format!(
            "this machine has no certificate authorities, so no connection can be trusted; name a file of them in \
             the environment variable SSL_CERT_FILE ({})",
            causes.join("; ")
        )));
    }
    Ok(found.certs)
}
