//! The media type that a file's name tells.

/// The media type of a file called `name`, by its extension.
///
/// For media that came without one: KAZOO sends the type of its own table, which goes by the extension too.
pub(super) fn of_name(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match &*extension.to_ascii_lowercase() {
        "mp3" => "audio/mpeg",
        "wav" => "audio/x-wav",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "tif" | "tiff" => "image/tiff",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "txt" => "text/plain",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_tells_in_any_case() {
        for (name, media_type) in [
            ("7f3c.mp3", "audio/mpeg"),
            ("a.wav", "audio/x-wav"),
            ("a.ogg", "audio/ogg"),
            ("a.Mp4", "video/mp4"),
            ("fax.tif", "image/tiff"),
            ("FAX.TIFF", "image/tiff"),
            ("a.mp3.pdf", "application/pdf"),
            ("a.png", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.jpeg", "image/jpeg"),
            ("a.gif", "image/gif"),
            ("a.txt", "text/plain"),
            ("a.json", "application/json"),
            ("mp3", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
        ] {
            assert_eq!(of_name(name), media_type, "{name}");
        }
    }
}
