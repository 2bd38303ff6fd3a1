package divisi

// TaskBytes is how much of a shuffle a task is to read: less shows with few rows what is
// done with many.
func TaskBytes(n int64) Option { return func(o *runOptions) { o.taskBytes = n } }
