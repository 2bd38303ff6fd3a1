# user, tab, time, tab, page -> the pages of each user in order of time
BEGIN { FS = OFS = "\t" }
$1 != user { if (user != "") print user, path; user = $1; path = "" }
{ path = path (path == "" ? "" : " ") $3 }
END { if (user != "") print user, path }
