#Requires -Version 5.1
<#
.SYNOPSIS
    Show a notification of Windows. Its content is an XML file; py\lorabake\toast.py writes it.
.NOTES
    For Windows PowerShell 5.1, under whose name Windows shows it: PowerShell 7 cannot reach this part of Windows.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [string] $Path
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Naming the types with their part of Windows makes them known to PowerShell
$null = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$null = [Windows.Data.Xml.Dom.XmlDocument, Windows.Data.Xml.Dom, ContentType = WindowsRuntime]
$content = New-Object -TypeName 'Windows.Data.Xml.Dom.XmlDocument'
$content.LoadXml([System.IO.File]::ReadAllText($Path, [System.Text.Encoding]::UTF8))
$toast = New-Object -TypeName 'Windows.UI.Notifications.ToastNotification' -ArgumentList $content
$sender = '{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\WindowsPowerShell\v1.0\powershell.exe'
[Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier($sender).Show($toast)
