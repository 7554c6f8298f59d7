#Requires -Version 5.1
<#
.SYNOPSIS
    Model files to .safetensors, and the door to everything else about a finished file.
.DESCRIPTION
    Without -Info, -Merge, -Resize, -Scrub or -Import it converts: checkpoints, LoRAs, embeddings, VAEs. Nothing in a file is run,
    every tensor is compared, the original stays. LoRAs of diffusers and PEFT get the names that every program reads. A folder of
    pictures is flattened instead. Without a path it asks. Right-click and "Run with PowerShell" works too.
    Exit codes: 0 done, 1 some files could not be done (the others are), 2 wrong words, 3 our bug, 12 disk full, 13 stopped.
.EXAMPLE
    .\convert.ps1 D:\Models\old.ckpt -Precision fp16
.EXAMPLE
    .\convert.ps1 D:\Loras\junwool.safetensors -Info
.EXAMPLE
    .\convert.ps1 style.safetensors=0.8,hair.safetensors=0.5 -Merge -Out both.safetensors
.EXAMPLE
    .\convert.ps1 style.safetensors=0.8 -Merge -Into D:\Models\base.safetensors -Out D:\Models\baked-in.safetensors
.EXAMPLE
    .\convert.ps1 junwool.safetensors -Resize -Rank 16
#>
[CmdletBinding(DefaultParameterSetName = 'Convert')]
param(
    # Model files, or folders of them. With -Merge each may have a weight: style.safetensors=0.8
    [Parameter(Position = 0)] [string[]] $Path,
    # Of the weights: keep, fp16, bf16 or fp32.
    [ArgumentCompleter({ 'keep', 'fp16', 'bf16', 'fp32' })] [string] $Precision,
    # A folder for the results, or for one file a name ending in .safetensors.
    [string] $Out,
    # The folders inside too; those that begin with _ or . never.
    [switch] $Recursive,
    # Say what each file is and what would be written, write nothing.
    [switch] $DryRun,
    # Keep the averaged second copy of the weights that a checkpoint carries.
    [switch] $KeepEma,
    # Names in LoRA files: kohya, diffusers or keep.
    [ArgumentCompleter({ 'kohya', 'diffusers', 'keep' })] [string] $Dialect,
    # Say what each file is, what it was trained on, and which programs load it.
    [Parameter(ParameterSetName = 'Info')] [switch] $Info,
    # Join LoRAs into one, or bake them into a checkpoint (-Into).
    [Parameter(ParameterSetName = 'Merge')] [switch] $Merge,
    # Bring a LoRA to another rank.
    [Parameter(ParameterSetName = 'Resize')] [switch] $Resize,
    # A copy of a LoRA without private paths and folder names.
    [Parameter(ParameterSetName = 'Scrub')] [switch] $Scrub,
    # The profile that bakes a LoRA again.
    [Parameter(ParameterSetName = 'Import')] [switch] $Import,
    # With -Info: for machines.
    [switch] $Json,
    # With -Info: from the header alone.
    [switch] $Fast,
    # With -Merge: the checkpoint that gets them.
    [string] $Into,
    # With -Merge or -Resize: the new rank.
    [string] $Rank,
    # The same for 3x3 layers.
    [string] $ConvRank,
    # With -Resize, a rank for each layer: sv_ratio=10, sv_fro=0.95 or sv_cumulative=0.9
    [ArgumentCompleter({ 'sv_ratio=', 'sv_fro=', 'sv_cumulative=' })] [string] $By,
    # With -Merge or -Resize, where it is computed: cuda or cpu.
    [ArgumentCompleter({ 'cuda', 'cpu' })] [string] $Device,
    # With -Scrub: leave out the tags too.
    [switch] $Tags,
    # Never wait for a key at the end.
    [switch] $NoPause
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Import-Module takes [ and ] in a path for wildcards
Import-Module -Name ([WildcardPattern]::Escape("$PSScriptRoot/ps/launch.psm1")) -Force
$door = $PSCmdlet.ParameterSetName
if ($door -eq 'Convert') { Invoke-Lorabake -Script 'convert.py' -Bound $PSBoundParameters -Positional 'Path' }
else { Invoke-Lorabake -Script 'lora.py' -Door $door -Bound $PSBoundParameters -Positional 'Path' }
exit $LASTEXITCODE
