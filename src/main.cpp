#include "jointtuner/cli/program.h"

int main(int argc, char** argv) { return jointtuner::cli::run(argc, argv); }
