// The SCRIPTS language of the LSI and Symbios 53C8xx: assembler, disassembler, loader.

export { type AssembleOptions, assemble } from './assemble.ts';
export { type DisassembleOptions, disassemble } from './disassemble.ts';
export { type ReadWords, readWords, toHex, toJson, toListing } from './format.ts';
export { type LinkOptions, link } from './link.ts';
export { type Problem, ScriptsError } from './problems.ts';
export type { Patch, ScriptsProgram, SourceLine, Unresolved } from './program.ts';
