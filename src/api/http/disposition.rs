//! `Content-Disposition`: files are saved, never shown, and under a harmless name.
//!
//! What jobs leave behind is written by whoever submits jobs. Shown by a browser on this
//! server's own address it could act as the page of the one who looks at it.

use axum::http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 5987 lets stand unescaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// Makes an answer a file named `name`, which a browser saves.
pub(in crate::api) fn attach(headers: &mut HeaderMap, name: &str) {
    // The first form is for old clients; it has no way to escape anything safely.
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' }).collect();
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ESCAPED));
    let value = HeaderValue::from_str(&value).expect("graphic ASCII and spaces are a header value");
    headers.insert(header::CONTENT_DISPOSITION, value);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_out_of_the_header() {
        for (name, expected) in [
            ("a.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
            ("a\";b=\"c", "attachment; filename=\"a_;b=_c\"; filename*=UTF-8''a%22%3Bb%3D%22c"),
            ("ö 100%.txt", "attachment; filename=\"__100_.txt\"; filename*=UTF-8''%C3%B6%20100%25.txt"),
            ("a\r\nb: c", "attachment; filename=\"a__b:_c\"; filename*=UTF-8''a%0D%0Ab%3A%20c"),
        ] {
            let mut headers = HeaderMap::new();
            attach(&mut headers, name);
            assert_eq!(headers[header::CONTENT_DISPOSITION], expected);
        }
    }
}
