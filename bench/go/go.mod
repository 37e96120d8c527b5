module headrace/bench

go 1.22
