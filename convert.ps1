#Requires -Version 5.1
<#
.SYNOPSIS
    Turn model files (.pt .ckpt .bin .pth) into .safetensors. Nothing in them is run, every tensor is compared, the original stays.
.DESCRIPTION
    Says what each file is: checkpoint, LoRA and its relatives, embedding, VAE. LoRAs of diffusers and PEFT get the names that
    every program reads. A folder of pictures is flattened instead. Without a path it asks, and proposes fp16.
    Right-click and "Run with PowerShell" works too.
    Exit codes: 0 done, 1 some files could not be converted (the others are), 2 wrong words, 3 our bug, 12 disk full.
.EXAMPLE
    .\convert.ps1 D:\Models\old.ckpt -Precision fp16
.EXAMPLE
    .\convert.ps1 D:\Loras -Recursive -DryRun
#>
[CmdletBinding()]
param(
    # Model files, or folders of them.
    [Parameter(Position = 0)] [string[]] $Path,
    # Of the weights: keep, fp16, bf16 or fp32.
    [string] $Precision,
    # A folder for the results, or for one file a name ending in .safetensors.
    [string] $Out,
    # The folders inside too; those that begin with _ or . never.
    [switch] $Recursive,
    # Say what each file is and what would be written, write nothing.
    [switch] $DryRun,
    # Keep the averaged second copy of the weights that a checkpoint carries.
    [switch] $KeepEma,
    # Names in LoRA files: kohya, diffusers or keep.
    [string] $Dialect,
    # Never wait for a key at the end.
    [switch] $NoPause
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Import-Module takes [ and ] in a path for wildcards
Import-Module -Name ([WildcardPattern]::Escape("$PSScriptRoot/ps/launch.psm1")) -Force
Invoke-Lorabake -Script 'convert.py' -Bound $PSBoundParameters -Positional 'Path'
exit $LASTEXITCODE
