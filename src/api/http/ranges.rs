//! Parts of a body: `Range`, `If-Range`, `If-None-Match`.
//!
//! One range a request. Several, or what cannot be read, is answered with the whole body, as
//! HTTP allows.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::HttpError;

/// Which part of a body goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Part {
    /// First byte, and one past the last.
    pub(in crate::api) range: Range<u64>,
    /// Of so many.
    len: u64,
    whole: bool,
}

impl Part {
    /// What a request asks for of `len` bytes. `etag` is what they are known by, quotes aside.
    ///
    /// # Errors
    /// 416: the range holds none of the bytes.
    pub(in crate::api) fn asked(headers: &HeaderMap, len: u64, etag: Option<&str>) -> Result<Self, HttpError> {
        let whole = Self { range: 0..len, len, whole: true };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        // The peer has a part of something that may be another by now.
        if let Some(known) = text(header::IF_RANGE)
            && etag.is_none_or(|etag| known != format!("\"{etag}\""))
        {
            return Ok(whole);
        }
        let Some((first, last)) = text(header::RANGE).and_then(one_range) else { return Ok(whole) };
        let range = match (first, last) {
            (Some(first), Some(last)) if first > last => return Ok(whole),
            (Some(first), last) => first..last.map_or(len, |last| last.saturating_add(1).min(len)),
            (None, Some(suffix)) => len.saturating_sub(suffix)..len,
            (None, None) => return Ok(whole),
        };
        if range.is_empty() {
            return Err(HttpError::range_not_satisfiable(len));
        }
        Ok(Self { range, len, whole: false })
    }

    /// The answer that carries this part as `body`.
    pub(in crate::api) fn response(&self, content_type: &'static str, body: Body) -> Response {
        let Range { start, end } = self.range;
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        if !self.whole {
            let range = format!("bytes {start}-{}/{}", end - 1, self.len);
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits are a header value"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

/// Whether the peer already has what is known by `etag`.
pub(in crate::api) fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == etag)
}

/// First and last byte of `bytes=…` with a single range.
fn one_range(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = value.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        // `parse` alone would take a sign.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    unit.trim().eq_ignore_ascii_case("bytes").then_some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, len: u64) -> Result<Part, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        Part::asked(&headers, len, None)
    }

    #[test]
    fn a_single_range_is_cut_to_what_is_there() {
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=4-", 4..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("Bytes = 8-99", 8..10),
            ("bytes=9-18446744073709551615", 9..10),
        ] {
            let part = asked(range, 10).unwrap();
            assert_eq!((part.range, part.whole), (expected, false), "{range}");
        }
    }

    #[test]
    fn what_cannot_be_read_means_everything() {
        for range in [
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "lines=0-1",
            "0-1",
            "bytes=99999999999999999999-",
        ] {
            assert!(asked(range, 10).unwrap().whole, "{range}");
        }
    }

    #[test]
    fn a_range_beyond_the_end_is_not_satisfiable() {
        for (range, len) in [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
        {
            let response = asked(range, len).unwrap_err().into_response();
            assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
            assert_eq!(response.headers()[header::CONTENT_RANGE], format!("bytes */{len}"));
        }
    }

    #[test]
    fn a_part_of_something_else_is_of_no_use() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=2-"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"abc\""));
        assert!(!Part::asked(&headers, 10, Some("abc")).unwrap().whole);
        assert!(Part::asked(&headers, 10, Some("def")).unwrap().whole);
        assert!(Part::asked(&headers, 10, None).unwrap().whole);
    }

    #[test]
    fn known_tags_are_recognised() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"x\", W/\"abc\""));
        assert!(has_already(&headers, "abc"));
        assert!(!has_already(&headers, "ab"));
        assert!(!has_already(&HeaderMap::new(), "abc"));
    }
}
