/// Content types by file name extension, for objects that come without one.
enum ContentTypeTable {
    /// The type that the name suggests, or `application/octet-stream`. The extension of a compression is seen
    /// through, so that `a.tar.gz` is a tar archive, as Python's `mimetypes` has it.
    static func guess(_ name: [UInt8]) -> [UInt8] {
        var rest = name[...]
        if let slash = rest.lastIndex(of: UInt8(ascii: "/")) { rest = rest[(slash + 1)...] }
        guard var suffix = takeExtension(&rest) else { return unknown }
        if tarSuffixes.contains(suffix) { return Array("application/x-tar".utf8) }
        if encodings.contains(suffix) {
            guard let inner = takeExtension(&rest) else { return unknown }
            suffix = inner
        }
        return types[suffix].map { Array($0.utf8) } ?? unknown
    }

    private static let unknown = Array("application/octet-stream".utf8)
    private static let longestExtension = 12

    private static func takeExtension(_ name: inout ArraySlice<UInt8>) -> String? {
        // A leading period makes a hidden file, not an extension.
        guard let dot = name.lastIndex(of: UInt8(ascii: ".")), dot > name.startIndex,
            name.endIndex - dot - 1 <= longestExtension
        else { return nil }
        defer { name = name[..<dot] }
        return String(decoding: name[(dot + 1)...].map(ASCII.lower), as: UTF8.self)
    }

    private static let encodings: Set<String> = ["gz", "bz2", "xz", "z", "br"]
    private static let tarSuffixes: Set<String> = ["tgz", "taz", "tz", "tbz2", "txz"]

    private static let types: [String: String] = [
        "7z": "application/x-7z-compressed", "aac": "audio/aac", "ai": "application/postscript",
        "aif": "audio/x-aiff", "aiff": "audio/x-aiff", "apk": "application/vnd.android.package-archive",
        "avi": "video/x-msvideo", "avif": "image/avif", "bin": "application/octet-stream", "bmp": "image/bmp",
        "bz": "application/x-bzip", "c": "text/x-csrc", "cc": "text/x-c++src", "cpio": "application/x-cpio",
        "cpp": "text/x-c++src", "css": "text/css", "csv": "text/csv", "deb": "application/vnd.debian.binary-package",
        "doc": "application/msword",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "dvi": "application/x-dvi", "eml": "message/rfc822", "eot": "application/vnd.ms-fontobject",
        "eps": "application/postscript", "epub": "application/epub+zip", "exe": "application/x-msdos-program",
        "flac": "audio/flac", "flv": "video/x-flv", "gif": "image/gif", "h": "text/x-chdr", "h5": "application/x-hdf5",
        "hdf": "application/x-hdf", "heic": "image/heic", "htm": "text/html", "html": "text/html",
        "ico": "image/vnd.microsoft.icon", "ics": "text/calendar", "iso": "application/x-iso9660-image",
        "jar": "application/java-archive", "java": "text/x-java", "jpe": "image/jpeg", "jpeg": "image/jpeg",
        "jpg": "image/jpeg", "js": "text/javascript", "json": "application/json", "jsonld": "application/ld+json",
        "latex": "application/x-latex", "m3u8": "application/vnd.apple.mpegurl", "m4a": "audio/mp4",
        "m4v": "video/mp4", "md": "text/markdown", "mid": "audio/midi", "midi": "audio/midi",
        "mjs": "text/javascript", "mkv": "video/x-matroska", "mov": "video/quicktime", "mp3": "audio/mpeg",
        "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpeg",
        "odp": "application/vnd.oasis.opendocument.presentation",
        "ods": "application/vnd.oasis.opendocument.spreadsheet", "odt": "application/vnd.oasis.opendocument.text",
        "oga": "audio/ogg", "ogg": "audio/ogg", "ogv": "video/ogg", "opus": "audio/ogg", "otf": "font/otf",
        "parquet": "application/vnd.apache.parquet", "pdf": "application/pdf", "pem": "application/x-pem-file",
        "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "ps": "application/postscript", "psd": "image/vnd.adobe.photoshop", "py": "text/x-python",
        "rar": "application/vnd.rar", "rpm": "application/x-rpm", "rtf": "application/rtf", "sh": "application/x-sh",
        "sql": "application/sql", "svg": "image/svg+xml", "swf": "application/x-shockwave-flash",
        "tar": "application/x-tar", "tex": "application/x-tex", "tif": "image/tiff", "tiff": "image/tiff",
        "toml": "application/toml", "ts": "video/mp2t", "tsv": "text/tab-separated-values", "ttf": "font/ttf",
        "txt": "text/plain", "log": "text/plain", "vcf": "text/vcard", "wasm": "application/wasm",
        "wav": "audio/x-wav", "weba": "audio/webm", "webm": "video/webm", "webp": "image/webp",
        "wmv": "video/x-ms-wmv", "woff": "font/woff", "woff2": "font/woff2", "xhtml": "application/xhtml+xml",
        "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xml": "application/xml",
        "xsl": "application/xml", "yaml": "application/yaml", "yml": "application/yaml", "zip": "application/zip",
        "zst": "application/zstd",
    ]
}
