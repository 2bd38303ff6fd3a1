package ops

import (
	"fmt"
	"strconv"

	"github.com/divisi-data/divisi/dataflow"
)

// taskVariables is what a program's environment says of its task, by the names that
// Hadoop has for it now and had before; none where phase is "".
func taskVariables(t dataflow.TaskID, phase string, from origin) []string {
	if phase == "" {
		return nil
	}
	isMap := phase == "map"
	tip := fmt.Sprintf("%s_%c_%06d", t.Job, phase[0], t.Index)
	var env []string
	set := func(value string, names ...string) {
		for _, n := range names {
			env = append(env, n+"="+value)
		}
	}
	set(t.Job, "mapreduce_job_id", "mapred_job_id")
	set("task_"+tip, "mapreduce_task_id", "mapred_tip_id")
	set(fmt.Sprintf("attempt_%s_%d", tip, t.Attempt), "mapreduce_task_attempt_id", "mapred_task_id")
	set(strconv.Itoa(t.Index), "mapreduce_task_partition", "mapred_task_partition")
	set(strconv.FormatBool(isMap), "mapreduce_task_ismap", "mapred_task_is_map")
	if isMap && from.file != "" {
		set(from.file, "mapreduce_map_input_file", "map_input_file")
		set(strconv.FormatInt(from.offset, 10), "mapreduce_map_input_start", "map_input_start")
	}
	return env
}
