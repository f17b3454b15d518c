package import NIOCore

package final class BlobReader: Sendable {
    package var length: Int64 { 0 }
    package func read(offset: Int64, length: Int, mayBlock: Bool) throws(DeviceLogError) -> ByteBuffer { throw .closed }
}
package final class StagedBlob: Sendable {
    package var length: Int64 { 0 }
    package func append(_ bytes: ByteBuffer) throws(DeviceLogError) { throw .closed }
    package func seal() throws(DeviceLogError) { throw .closed }
    package func discard() {}
}
