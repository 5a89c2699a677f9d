#include "jointtuner/cli/run.h"

int main(int argc, char** argv) { return jointtuner::cli::run(argc, argv); }
