// Package divisi is the front door: a job's main function calls Main, and the same
// binary then runs the job in this process, submits it to a cluster, or hosts its
// tasks there.
//
//	func wordcount(j *df.Job) {
//		lines := df.Read(j, df.Lines(j.Arg(0)))
//		counts := df.Count(df.Words(lines))
//		df.Write(counts, df.TSV[df.Pair[string, int64]](j.Arg(1)))
//	}
//
//	func main() { divisi.Main(wordcount) }
//
// Without --cluster the job runs in this process: coordinator, worker and task host
// over the same code path as on a cluster, so a debugger works, and so does go test
// (see Run, and package divisitest).
package divisi
