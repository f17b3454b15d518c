extension Array where Element == UInt8 {
    /// `withUnsafeBytes` for closures that throw typed errors.
    @inline(__always)
    func withBytes<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let result: Result<Value, Failure> = withUnsafeBytes { bytes in
            do throws(Failure) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

/// `withUnsafeTemporaryAllocation` for closures that throw typed errors.
@inline(__always)
func withUnsafeTemporaryBytes<Value, Failure: Error>(
    _ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Value
) throws(Failure) -> Value {
    let result: Result<Value, Failure> = withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { bytes in
        do throws(Failure) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
}
