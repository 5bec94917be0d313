//! Which certificates an encrypted connection trusts.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::ConnectError;

/// The configuration that trusts `authorities`, which are certificates in PEM, or those of the machine.
pub(crate) fn config(authorities: Option<&str>) -> Result<Arc<ClientConfig>, ConnectError> {
    let roots = match authorities {
        Some(pem) => roots_of(pem)?,
        None => roots_of_the_machine()?,
    };
    // The provider is named: an app may have others, and rustls would not know which to take.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|it| ConnectError::Tls(it.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots_of(pem: &str) -> Result<RootCertStore, ConnectError> {
    let wrong = |why: String| ConnectError::Tls(format!("root_certificates: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|it| wrong(it.to_string()))?;
        roots.add(certificate).map_err(|it| wrong(it.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(wrong("there is no certificate in it".to_owned())),
        false => Ok(roots),
    }
}

fn roots_of_the_machine() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A machine may have certificates that rustls does not read; the others are good.
    let (good, _) = roots.add_parsable_certificates(found.certs);
    match good {
        0 => Err(ConnectError::Tls(format!(
            "this machine has no certificates to trust: {:?}",
            found.errors
        ))),
        _ => Ok(roots),
    }
}
