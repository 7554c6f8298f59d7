#Requires -Version 5.1
<#
.SYNOPSIS
    A LoRA from the difference of two checkpoints.
.DESCRIPTION
    Takes the base and the model that was made from it, says how far they are from one another and whether that looks right,
    and writes a LoRA. Without words it asks for them: right-click and "Run with PowerShell" works too.
    Exit codes: 0 done, 1 you can fix it, 2 wrong words, 3 our bug, 10 out of memory, 12 disk full, 13 stopped,
    20 some of several models could not be done.
.EXAMPLE
    .\extract.ps1 D:\Models\v1-5.safetensors D:\Models\junwool.safetensors -Out D:\Loras\junwool.safetensors
.EXAMPLE
    .\extract.ps1 -Base v1-5.safetensors -Tuned a.ckpt,b.ckpt -Out D:\Loras -Rank 64
.EXAMPLE
    .\extract.ps1 -Base v1-5.safetensors -Tuned junwool.safetensors -Compare
#>
[CmdletBinding()]
param(
    # The checkpoint that the others were made from: a file or a Diffusers folder.
    [Parameter(Position = 0)] [string] $Base,
    # Made from it; several give a LoRA each.
    [Parameter(Position = 1)] [string[]] $Tuned,
    # The LoRA; where there are several, a folder.
    [string] $Out,
    # Of each layer; with -Share the largest that a layer may have.
    [string] $Rank,
    # Take the 3x3 convolutions and the rest of the resnets too, at this rank.
    [string] $ConvRank,
    # A rank for each layer, such that so much of its change is captured: 0.95
    [string] $Share,
    # Of the LoRA: fp16, bf16 or fp32.
    [ArgumentCompleter({ 'fp16', 'bf16', 'fp32' })] [string] $Precision,
    # Leave out layers where no weight changed by more than this.
    [string] $MinDiff,
    # Which part of the models: both, unet or text_encoder.
    [ArgumentCompleter({ 'both', 'unet', 'text_encoder' })] [string] $Target,
    # Where it is computed: cuda or cpu.
    [ArgumentCompleter({ 'cuda', 'cpu' })] [string] $Device,
    # Say how far the models are from one another, write nothing.
    [switch] $Compare,
    # Never wait for a key at the end.
    [switch] $NoPause
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Import-Module takes [ and ] in a path for wildcards
Import-Module -Name ([WildcardPattern]::Escape("$PSScriptRoot/ps/launch.psm1")) -Force
Invoke-Lorabake -Script 'extract.py' -Bound $PSBoundParameters
exit $LASTEXITCODE
