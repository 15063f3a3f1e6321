//! `Content-Type` of a file by its name.
//!
//! The table is the one that clients of 1.7 know: Python's own, without the types of any operating system. What it does
//! not name is text, so that logs, sources and notes open in the browser; the few additions are formats that are
//! certainly not text.

/// The media type for a file name. Names whose last ending means an encoding (`.gz`) are opaque.
pub fn content_type(name: &str) -> &'static str {
    const OPAQUE: &str = "application/octet-stream";
    let Some((stem, ending)) = name.rsplit_once('.') else {
        return "text/plain";
    };
    // As in Python, a name that begins with its only dot has no ending.
    if stem.trim_start_matches('.').is_empty() {
        return "text/plain";
    }
    let lower = ending.to_ascii_lowercase();
    if ending == "Z" || ENCODINGS.contains(&lower.as_str()) {
        return OPAQUE;
    }
    TYPES
        .iter()
        .find(|(_, endings)| endings.split(' ').any(|known| known == lower))
        .map_or("text/plain", |(kind, _)| kind)
}

/// Endings of encodings, and those that stand for an archive in one.
const ENCODINGS: [&str; 11] = ["gz", "bz2", "xz", "br", "tgz", "taz", "tz", "tbz2", "txz", "svgz", "z"];

/// Type and endings.
const TYPES: &[(&str, &str)] = &[
    ("text/plain", "txt c h bat ksh pl"),
    ("text/html", "html htm"),
    ("text/css", "css"),
    ("text/csv", "csv"),
    ("text/xml", "xml"),
    ("text/tab-separated-values", "tsv"),
    ("text/x-python", "py"),
    ("text/x-vcard", "vcf"),
    ("text/x-sgml", "sgm sgml"),
    ("text/x-setext", "etx"),
    ("text/richtext", "rtx"),
    ("text/xul", "xul"),
    ("image/png", "png"),
    ("image/gif", "gif"),
    ("image/ief", "ief"),
    ("image/jpeg", "jpg jpeg jpe"),
    ("image/svg+xml", "svg"),
    ("image/tiff", "tif tiff"),
    ("image/x-ms-bmp", "bmp"),
    ("image/vnd.microsoft.icon", "ico"),
    ("image/x-portable-anymap", "pnm"),
    ("image/x-portable-bitmap", "pbm"),
    ("image/x-portable-graymap", "pgm"),
    ("image/x-portable-pixmap", "ppm"),
    ("image/x-rgb", "rgb"),
    ("image/x-xbitmap", "xbm"),
    ("image/x-xpixmap", "xpm"),
    ("image/x-xwindowdump", "xwd"),
    ("image/x-cmu-raster", "ras"),
    ("image/pict", "pct pic pict"),
    ("audio/mpeg", "mp3 mp2"),
    ("audio/x-wav", "wav"),
    ("audio/basic", "au snd"),
    ("audio/x-aiff", "aif aifc aiff"),
    ("audio/midi", "mid midi"),
    ("audio/x-pn-realaudio", "ra"),
    ("video/mp4", "mp4"),
    ("video/webm", "webm"),
    ("video/mpeg", "mpeg mpg mpe mpa m1v"),
    ("video/quicktime", "mov qt"),
    ("video/x-msvideo", "avi"),
    ("video/x-sgi-movie", "movie"),
    ("message/rfc822", "eml mht mhtml nws"),
    ("application/json", "json"),
    ("application/pdf", "pdf"),
    ("application/zip", "zip"),
    ("application/wasm", "wasm"),
    ("application/rtf", "rtf"),
    ("application/oda", "oda"),
    ("application/javascript", "js mjs"),
    ("application/manifest+json", "webmanifest"),
    ("application/octet-stream", "bin exe dll so o a obj"),
    ("application/postscript", "ps eps ai"),
    ("application/msword", "doc dot wiz"),
    ("application/vnd.ms-excel", "xls xlb"),
    ("application/vnd.ms-powerpoint", "ppt pot ppa pps pwz"),
    ("application/xml", "rdf wsdl xpdl xsl"),
    ("application/vnd.apple.mpegurl", "m3u m3u8"),
    ("application/x-tar", "tar"),
    ("application/x-sh", "sh"),
    ("application/x-csh", "csh"),
    ("application/x-shar", "shar"),
    ("application/x-tcl", "tcl"),
    ("application/x-tex", "tex"),
    ("application/x-latex", "latex"),
    ("application/x-texinfo", "texi texinfo"),
    ("application/x-troff", "t tr roff"),
    ("application/x-troff-man", "man"),
    ("application/x-troff-me", "me"),
    ("application/x-troff-ms", "ms"),
    ("application/x-dvi", "dvi"),
    ("application/x-hdf", "hdf"),
    ("application/x-netcdf", "nc cdf"),
    ("application/x-python-code", "pyc pyo"),
    ("application/x-gtar", "gtar"),
    ("application/x-cpio", "cpio"),
    ("application/x-bcpio", "bcpio"),
    ("application/x-ustar", "ustar"),
    ("application/x-sv4cpio", "sv4cpio"),
    ("application/x-sv4crc", "sv4crc"),
    ("application/x-mif", "mif"),
    ("application/x-pkcs12", "p12 pfx"),
    ("application/pkcs7-mime", "p7c"),
    ("application/x-pn-realaudio", "ram"),
    ("application/x-shockwave-flash", "swf"),
    ("application/x-wais-source", "src"),
    // Beyond Python's table.
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("audio/ogg", "ogg oga"),
    ("audio/flac", "flac"),
    ("font/woff2", "woff2"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_name() {
        for (name, expected) in [
            ("codalab.png", "image/png"),
            ("PHOTO.JPG", "image/jpeg"),
            ("stdout", "text/plain"),
            ("a.unknown-thing", "text/plain"),
            ("README.md", "text/plain"),
            ("x.log", "text/plain"),
            ("x.ipynb", "text/plain"),
            ("x.yml", "text/plain"),
            ("a.tar.gz", "application/octet-stream"),
            ("A.GZ", "application/octet-stream"),
            ("a.tgz", "application/octet-stream"),
            ("a.Z", "application/octet-stream"),
            ("a.svgz", "application/octet-stream"),
            ("a.tar", "application/x-tar"),
            ("page.html", "text/html"),
            ("x.js", "application/javascript"),
            ("x.py", "text/x-python"),
            (".png", "text/plain"),
            ("a.", "text/plain"),
            ("", "text/plain"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }
}
