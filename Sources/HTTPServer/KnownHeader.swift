/// The request headers that have a fixed slot in a `RequestHead`: recognised once while parsing, found later without a
/// search. The raw value is the index of the slot.
package enum KnownHeader: UInt8, CaseIterable, Sendable {
    case host, contentLength, transferEncoding, connection, expect, contentType, contentEncoding, contentDisposition
    case contentLanguage, cacheControl, expires, date, userAgent, referer, authorization, accept, acceptEncoding, range
    case eTag, ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince, ifRange, destination, origin
    case accessControlRequestMethod, accessControlRequestHeaders
    case authToken, storageToken, serviceToken, authUser, authKey, storageUser, storagePass
    case newest, timestamp, deleteAt, deleteAfter, transIdExtra
    case copyFrom, copyFromAccount, destinationAccount, freshMetadata
    case objectManifest, storagePolicy, backendTimestamp, forwardedFor, openStackRequestId, amzDate, amzContentSHA256

    /// The name in lower case.
    package var name: StaticString {
        switch self {
        case .host: "host"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .connection: "connection"
        case .expect: "expect"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .contentDisposition: "content-disposition"
        case .contentLanguage: "content-language"
        case .cacheControl: "cache-control"
        case .expires: "expires"
        case .date: "date"
        case .userAgent: "user-agent"
        case .referer: "referer"
        case .authorization: "authorization"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .range: "range"
        case .eTag: "etag"
        case .ifMatch: "if-match"
        case .ifNoneMatch: "if-none-match"
        case .ifModifiedSince: "if-modified-since"
        case .ifUnmodifiedSince: "if-unmodified-since"
        case .ifRange: "if-range"
        case .destination: "destination"
        case .origin: "origin"
        case .accessControlRequestMethod: "access-control-request-method"
        case .accessControlRequestHeaders: "access-control-request-headers"
        case .authToken: "x-auth-token"
        case .storageToken: "x-storage-token"
        case .serviceToken: "x-service-token"
        case .authUser: "x-auth-user"
        case .authKey: "x-auth-key"
        case .storageUser: "x-storage-user"
        case .storagePass: "x-storage-pass"
        case .newest: "x-newest"
        case .timestamp: "x-timestamp"
        case .deleteAt: "x-delete-at"
        case .deleteAfter: "x-delete-after"
        case .transIdExtra: "x-trans-id-extra"
        case .copyFrom: "x-copy-from"
        case .copyFromAccount: "x-copy-from-account"
        case .destinationAccount: "destination-account"
        case .freshMetadata: "x-fresh-metadata"
        case .objectManifest: "x-object-manifest"
        case .storagePolicy: "x-storage-policy"
        case .backendTimestamp: "x-backend-timestamp"
        case .forwardedFor: "x-forwarded-for"
        case .openStackRequestId: "x-openstack-request-id"
        case .amzDate: "x-amz-date"
        case .amzContentSHA256: "x-amz-content-sha256"
        }
    }

    /// Slots a `RequestHead` keeps; at least the number of cases.
    static let slotCount = 64
}
