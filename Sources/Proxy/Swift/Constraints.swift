/// The limits of the Swift API, published under `swift` in `/info`. Defaults are OpenStack Swift's.
package struct Constraints: Sendable, Equatable {
    /// Largest object in bytes: 5 GiB + 2.
    package var maxFileSize: UInt64 = 5_368_709_122
    /// Longest name of a metadata item, without its `X-...-Meta-` prefix, in bytes.
    package var maxMetaNameLength = 128
    /// Longest value of a metadata item, in bytes.
    package var maxMetaValueLength = 256
    /// Most metadata items of one account, container or object.
    package var maxMetaCount = 90
    /// Names and values of all metadata items together, in bytes.
    package var maxMetaOverallSize = 4096
    /// Longest value of any header, in bytes.
    package var maxHeaderSize = 8192
    /// Headers that are allowed beyond `maxMetaCount + 36`.
    package var extraHeaderCount = 0
    /// Longest decoded names, in bytes.
    package var maxAccountNameLength = 256
    package var maxContainerNameLength = 256
    package var maxObjectNameLength = 1024
    /// Most rows of one listing page.
    package var accountListingLimit = 10_000
    package var containerListingLimit = 10_000

    package init() {}

    /// Most header fields of one request.
    package var maxHeaderCount: Int {
        maxMetaCount + 36 + max(extraHeaderCount, 0)
    }
}
