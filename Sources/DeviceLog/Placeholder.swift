// DeviceLog
